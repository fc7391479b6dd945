"""Block B2: the alternatives that were left open. Every latent x silhouettes or their signed distance x two
likelihoods; and on silhouettes other sizes and weights, so that latents can be compared at equal bits.

python launch.py --mode=sweep --config=configs/sweeps/collapse_latents.py      see collapse_cause.py for data of your own
"""

import ml_collections

from configs import base

VARIANTS = ("",)
LATENTS = {
    "deterministic": "",
    "gaussian": "",
    "vamp_prior": "",
    "flow_prior": "latent.side=1 latent.channels=32",  # one token of 32 floats
    "bernoulli": "",
    "categorical": "latent.channels=8",  # 16 tokens of 8 codes
    "fsq": "",
}

SIZES = {  # bits that are stored
    "deterministic": {48: "latent.side=1 latent.channels=3", 96: "latent.side=1 latent.channels=6"},
    "bernoulli": {48: "latent.channels=3", 96: "latent.channels=6"},
    "categorical": {96: "latent.channels=64"},  # beside 48
    "fsq": {48: "latent.channels=1"},  # beside 96
}


def get_config() -> ml_collections.ConfigDict:
    config = base.get_config()
    config.name = "collapse_latents"
    base.make_laboratory(config)
    cells = []
    for kind, entropy in (("silhouettes", "bernoulli"), ("silhouette_sdf", "continuous_bernoulli")):
        for name, likelihood in (("entropy", entropy), ("calibrated", "calibrated_gaussian")):
            for latent, more in LATENTS.items():
                given = f"model.input={kind} reconstruction.kind={likelihood} latent.kind={latent} {more}"
                cells.append(f"{kind},{name},{latent},many: {given}")
    cells.append("silhouettes,entropy,bernoulli,many,gumbel: latent.kind=bernoulli latent.estimator=gumbel")
    cells.append(
        "silhouettes,entropy,categorical,many,gumbel: latent.kind=categorical latent.channels=8 latent.estimator=gumbel"
    )
    config.sweep.cells = (*cells, *_equal_bits())
    return config


def _equal_bits() -> list[str]:
    cells = []
    for latent, sizes in SIZES.items():
        for bits, size in sizes.items():
            given = f"latent.kind={latent} latent.bits=16 witness.classes=4 sweep.seeds=3 {size}"
            cells.append(f"silhouettes,entropy,{latent},many,bits_{bits}: {given}")
    for latent in ("gaussian", "vamp_prior", "flow_prior"):
        given = f"latent.kind={latent} {LATENTS[latent]} kl.final_weight=0.5|2|4 sweep.seeds=3"
        cells.append(f"silhouettes,entropy,{latent},many,weights: {given}")
    return cells
