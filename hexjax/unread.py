"""Which keys that a user gave a variant does not read, for a warning. Standard library and ml_collections only."""

import fnmatch

import ml_collections

from hexjax import names
from hexjax.rules import SHARED, SWEEP_RULES

FORMLESS = ("sweep.form", "sweep.cells")  # what sweeps of every form have
CHARGED = (*names.GAUSSIAN, "bernoulli", "categorical")  # latents that pay for their rate

# Keys that a variant does not read: pattern, the test, and the key whose value leaves them unread.
ROWS = (
    ("kl.*", lambda config: config.latent.kind not in CHARGED, "latent.kind"),
    ("kl.prior_variance", lambda config: config.latent.kind in CHARGED[1:], "latent.kind"),
    ("kl.log_variance_limit", lambda config: config.latent.kind in CHARGED[3:], "latent.kind"),
    ("kl.cap_mode", lambda config: config.kl.cap == 1, "kl.cap"),
    ("latent.bits", lambda config: config.latent.kind in names.DISCRETE, "latent.kind"),
    ("latent.codes", lambda config: config.latent.kind != "fsq", "latent.kind"),
    ("latent.estimator", lambda config: config.latent.kind not in ("bernoulli", "categorical"), "latent.kind"),
    ("latent.temperature", lambda config: config.latent.kind not in ("bernoulli", "categorical"), "latent.kind"),
    ("latent.temperature", lambda config: config.latent.estimator != "gumbel", "latent.estimator"),
    ("latent.pseudo_inputs", lambda config: config.latent.kind != "vamp_prior", "latent.kind"),
    ("latent.flow_*", lambda config: config.latent.kind != "flow_prior", "latent.kind"),
    ("reconstruction.*_weight", lambda config: config.reconstruction.kind != "surface", "reconstruction.kind"),
    ("reconstruction.*_weight", lambda config: config.model.input == "binary", "model.input"),
    ("reconstruction.depth_[kq]*", lambda config: config.reconstruction.kind != "surface", "reconstruction.kind"),
    ("reconstruction.depth_[kq]*", lambda config: config.model.input == "binary", "model.input"),
    ("reconstruction.variance", lambda config: config.reconstruction.kind != "gaussian", "reconstruction.kind"),
    ("reconstruction.sigma_floor", lambda config: config.reconstruction.kind != "calibrated_gaussian",
     "reconstruction.kind"),
    ("extract.threshold", lambda config: config.model.input not in (*names.HULLS, "voxels"), "model.input"),
    ("sdf.p*", lambda config: config.sdf.weight == 0 and config.model.family.startswith("hexplane_"), "sdf.weight"),
    ("optimiser.*", lambda config: config.train.steps == 0, "train.steps"),
    ("optimiser.halve_every_steps", lambda config: config.optimiser.decay != "halving", "optimiser.decay"),
    ("data.names", lambda config: config.data.path == "", "data.path"),
    ("data.source", lambda config: config.data.path != "", "data.path"),
    ("witness.*", lambda config: config.witness.classes == 0, "witness.classes"),
    *((key, lambda config: config.sweep.form == names.RUNS, "sweep.form") for key in SWEEP_RULES if key not in FORMLESS),
)  # fmt: skip


def lines(config: ml_collections.ConfigDict, given: set[str]) -> tuple[str, ...]:
    """One line for each setting that leaves some of the given keys unread."""
    lines = []
    for pattern, is_unread, setting in ROWS:
        keys = sorted(key for key in given if fnmatch.fnmatch(key, pattern))
        if keys and is_unread(config):
            section, name = setting.split(".")
            value = config[section][name]
            told = "set" if setting == "data.path" else f"= {value:g}" if isinstance(value, float) else f"= {value}"
            lines.append(f"config.{', config.'.join(keys)} set, but not read with {setting} {told}")
    if "bases" in config.get("sweep", ()):
        told = ("sweep", *SHARED)
        if keys := sorted(key for key in given if key.partition(".")[0] not in told):
            instead = ", ".join(f"config.sweep.bases.NAME.{key}" for key in keys)
            lines.append(f"config.{', config.'.join(keys)} set, but not read with sweep.bases; {instead} is")
    return tuple(lines)
