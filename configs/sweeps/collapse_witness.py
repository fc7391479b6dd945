"""The simplex witness: what a fixed and a fitted one say of healthy and of collapsed latents, plain and aligned.

python launch.py --mode=sweep --config=configs/sweeps/collapse_witness.py      see collapse_cause.py for data of your own
"""

import ml_collections

from configs import base

VARIANTS = ("",)


def get_config() -> ml_collections.ConfigDict:
    config = base.get_config()
    config.name = "collapse_witness"
    base.make_laboratory(config)
    config.sweep.control = "witness"
    weights = "kl.final_weight=1|2|4|8|64"
    config.sweep.cells = (
        f"silhouettes,entropy,gaussian,many,plain: {weights}",
        f"silhouettes,entropy,gaussian,many,aligned: {weights} witness.weight=10",
        f"silhouettes,entropy,gaussian,many,prefit: {weights} witness.weight=10 witness.prefit_steps=200",
        f"silhouettes,mean_mse,gaussian,many,aligned: reconstruction.kind=channels reconstruction.reduction=mean "
        f"{weights} witness.weight=0|10 witness.prefit_steps=0|200",
    )
    return config
