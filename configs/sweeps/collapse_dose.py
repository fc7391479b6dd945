"""Block B4: how much data, how much weight, how many latents. Silhouettes and their signed distance.

python launch.py --mode=sweep --config=configs/sweeps/collapse_dose.py         see collapse_cause.py for data of your own
"""

import ml_collections

from configs import base

VARIANTS = ("",)
WEIGHTS = "0.25|1|4|16|32|64|128|256"


def get_config() -> ml_collections.ConfigDict:
    config = base.get_config()
    config.name = "collapse_dose"
    base.make_laboratory(config)
    cells = []
    for kind, entropy in (("silhouettes", "bernoulli"), ("silhouette_sdf", "continuous_bernoulli")):
        for count in (1, 2, 8, 64, 512):
            given = f"model.input={kind} reconstruction.kind={entropy} sweep.shapes={count} sweep.control=shapes"
            cells.append(f"{kind},entropy,gaussian,{count},shapes: {given}")
        given = f"model.input={kind} reconstruction.kind=gaussian kl.final_weight={WEIGHTS} sweep.seeds=3"
        cells.append(f"{kind},sum_mse,gaussian,many,weight: {given} sweep.control=weight")
    given = "reconstruction.kind=gaussian kl.final_weight=0.25|1|4|16|32|64|128 sweep.seeds=3 sweep.control=weight"
    cells.append(f"depth,sum_mse,gaussian,many,weight: model.input=depth {given}")
    for side, channels in ((4, 2), (16, 2), (32, 8)):
        floats = side**2 * channels
        size = f"latent.side={side} latent.channels={channels} sweep.seeds=3 sweep.control=floats"
        cells.append(f"silhouettes,entropy,gaussian,many,floats_{floats}: {size}")
        recipe = "reconstruction.kind=channels reconstruction.reduction=mean kl.final_weight=1e-4 kl.cap=0.1"
        cells.append(f"silhouettes,mean_mse,gaussian,many,floats_{floats}_cap: {recipe} {size}")
    config.sweep.cells = tuple(cells)
    return config
