"""Block B1: is the binary input the cause? Inputs x likelihoods x one shape or many, a Gaussian latent, no control.

python launch.py --mode=sweep --config=configs/sweeps/collapse_cause.py        750 procedural solids
python launch.py --mode=sweep --config=configs/sweeps/collapse_cause.py --config.data.path=shapes,head_set/lowres.npz
    --config.data.count=0 --config.data.source=procedural                      your own meshes

A cell of five runs takes about half a minute on two cores; what is finished is not done again.
"""

import ml_collections

from configs import base

VARIANTS = ("",)
LIKELIHOODS = {
    "mean_mse": "reconstruction.kind=channels reconstruction.reduction=mean",  # as published: variance entries / 2
    "sum_mse": "reconstruction.kind=gaussian",  # variance 1
    "entropy": "reconstruction.kind=bernoulli",
    "calibrated": "reconstruction.kind=calibrated_gaussian",
}
INPUTS = ("silhouettes", "silhouette_sdf", "depth")


def get_config() -> ml_collections.ConfigDict:
    config = base.get_config()
    config.name = "collapse_cause"
    base.make_laboratory(config)
    config.sweep.cells = (*_main(), *_more())
    return config


def _main() -> list[str]:
    """24 cells; those of silhouettes and their signed distance have ten seeds."""
    cells = []
    for shapes, words in (("many", "sweep.shapes=0"), ("one", "sweep.shapes=1")):
        for kind in INPUTS:
            for name, likelihood in LIKELIHOODS.items():
                if name == "entropy" and kind != "silhouettes":
                    likelihood = "reconstruction.kind=continuous_bernoulli"
                seeds = 5 if kind == "depth" else 10
                cells.append(
                    f"{kind},{name},gaussian,{shapes}: model.input={kind} {likelihood} {words} sweep.seeds={seeds}"
                )
    return cells


def _more() -> list[str]:
    """The published six silhouettes, the published cure, voxels, and deterministic twins of equal depth."""
    cells = []
    for kind in ("binary", "continuous"):
        for name in ("mean_mse", "sum_mse", "calibrated"):
            cells.append(f"{kind},{name},gaussian,many: model.input={kind} {LIKELIHOODS[name]}")
    voxels = "model.input=voxels sweep.seeds=10 sweep.measure_every_steps=200"
    cells.append(f"voxels,entropy,gaussian,many: {voxels}")
    for name, given in (("clamp", "kl.log_variance_limit=10"), ("clamp_2", "kl.log_variance_limit=2"),
                        ("lr_1e-4", "optimiser.learning_rate=1e-4")):  # fmt: skip
        cells.append(f"voxels,entropy,gaussian,many,{name}: {voxels} {given} sweep.control={name}")
    for kind in (*INPUTS, "binary", "continuous"):
        for shapes, words in (("many", "sweep.shapes=0"), ("one", "sweep.shapes=1")):
            given = f"model.input={kind} {LIKELIHOODS['mean_mse']} latent.kind=deterministic {words}"
            cells.append(f"{kind},mean_mse,deterministic,{shapes}: {given}")
    return cells
