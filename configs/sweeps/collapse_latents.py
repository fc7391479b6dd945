"""Block B2: the alternatives that were left open. Every latent x silhouettes or their signed distance x two likelihoods.

python launch.py --mode=sweep --config=configs/sweeps/collapse_latents.py      see collapse_cause.py for data of your own
"""

import ml_collections

from configs import base

VARIANTS = ("",)
LATENTS = {
    "deterministic": "",
    "gaussian": "",
    "vamp_prior": "",
    "flow_prior": "latent.side=1 latent.channels=32",  # coupling layers act on halves of the code
    "bernoulli": "",
    "categorical": "latent.channels=8",  # 16 tokens of 8 codes
    "fsq": "",
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
    config.sweep.cells = tuple(cells)
    return config
