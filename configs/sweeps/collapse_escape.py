"""The way out: runs that have collapsed go on with one thing changed. Who recovers, and after how many steps?

python launch.py --mode=sweep --config=configs/sweeps/collapse_escape.py       see collapse_cause.py for data of your own

Three starts of 1 000 steps: `near`, collapsed by the scale of the loss (mean of squares, KL weight 1); `exact`, the same with
an encoder that is made to say the same of every shape; and `ignored`, the published recipe at a rate of 1e-2 with its cap,
which gives the mean map back at a huge rate: of ten seeds on solids the first two did, which are gone on with. Every 50 steps
the witness is fitted anew.
"""

import ml_collections

from configs import base
from configs.sweeps import collapse_recipe

VARIANTS = ("",)
PREFIT = 200
ARMS = {
    "nothing": "",
    "aligned": "witness.weight=10",
    "prefit": f"witness.prefit_steps={1000 + PREFIT}",  # 200 steps of the analytic code, then nothing
    "kl_down": "kl.final_weight=1e-3",  # a thirtieth of what the data pay for
    "free_bits": "kl.free_bits=0.1",
    "rate_up": "optimiser.learning_rate=1e-2",
    "sum": "reconstruction.reduction=sum",
    "kl_down*sum": "reconstruction.reduction=sum kl.final_weight=3.072",  # `kl_down` times the 3 072 values of a shape
    "aligned+kl_down": "witness.weight=10 kl.final_weight=1e-3",
    "cap": "kl.cap=0.1",
}
NEAR = {  # of a start whose optimiser remembers
    "kl_down+forget": "kl.final_weight=1e-3 sweep.forget=True",
    "kl_down+epsilon": "kl.final_weight=1e-3 optimiser.epsilon=1e-15",
    "forget": "sweep.forget=True",
}
IGNORED = {
    "nothing": "",
    "aligned": "witness.weight=10",
    "rate_down": "optimiser.learning_rate=1e-3",
    "cap_off": "kl.cap=1",
    "cap_off+rate_down": "kl.cap=1 optimiser.learning_rate=1e-3",
}


def get_config() -> ml_collections.ConfigDict:
    config = base.get_config()
    config.name = "collapse_escape"
    base.make_laboratory(config)
    config.reconstruction.kind, config.reconstruction.reduction = "channels", "mean"
    config.sweep.measure_every_steps = 50
    cells, own = [], "train.steps=600"
    for kind in collapse_recipe.KINDS:
        start = f"{kind},mean_mse,gaussian,many,start"
        cells.append(f"{start}: model.input={kind} sweep.control=start sweep.measure_every_steps=100")
        for how, words, arms in (("near", "", ARMS | NEAR), ("exact", "sweep.constant_mean=True", ARMS)):
            for name, given in arms.items():
                error = "sum" if "sum" in name else "mean"
                told = f"model.input={kind} sweep.start={start} sweep.control={how}:{name} {own} {words} {given}"
                cells.append(f"{kind},{error}_mse,gaussian,many,{how}_{name}: {told}")
    recipe = "latent.side=16 latent.channels=8 kl.final_weight=1e-4 optimiser.learning_rate=1e-2 sweep.seeds=2 "
    recipe += f"{collapse_recipe.full()} kl.log_variance_limit=10"
    start = "silhouettes,mean_mse,gaussian,many,ignored_start"
    cells.append(f"{start}: model.input=silhouettes sweep.control=start {recipe} sweep.measure_every_steps=100")
    for name, given in IGNORED.items():
        error = "sum" if "sum" in name else "mean"
        told = f"model.input=silhouettes sweep.start={start} sweep.control=ignored:{name} {own} {recipe} {given}"
        cells.append(f"silhouettes,{error}_mse,gaussian,many,ignored_{name}: {told}")
    config.sweep.cells = tuple(cells)
    return config
