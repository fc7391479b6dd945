"""An auto-decoder: a code for each shape, learnt with one network from signed distances; others are searched for.

python launch.py --config=configs/deepsdf.py --config.data.path=SHAPES --config.data.count=0   512 x 8, meant for a GPU
python launch.py --config=configs/deepsdf.py:published20 --config.data.path=SHAPES             the published settings, 20 shapes
python launch.py --config=configs/deepsdf.py:small                                             256 x 4: 6 minutes on two CPU
                                                                                               cores, and 3 to score

SHAPES is a folder of meshes; without it, solids are made in code. TWENTY are the shapes of the published figures here:
--config.data.names="$(python -m configs.deepsdf)". On them `:small` gives an L1 of .0007 and an F@0.01 of .996.
"""

import ml_collections

from configs import base

VARIANTS = ("", "small", "published20")
TWENTY = (
    "furniture_quaternius_coffeetable2", "misc_oded_spot", "misc_oded_koala", "misc_oded_plane", "misc_oded_hand_closed",
    "misc_oded_wingnut", "misc_oded_torus", "misc_ycb_ycbscissors", "furniture_kenney_chair", "furniture_kenney_coatrack",
    "tool_weapon_quaternius_sword", "vehicle_quaternius_boat", "human_quaternius_male_running", "animal_quaternius_trex",
    "animal_quaternius_spider", "prop_quaternius_bars", "bone_dmc_mandible", "bone_dmc_t_12", "food_kaykit_plate",
    "plant_rock_quaternius_tree4",
)  # fmt: skip


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of deepsdf: small, published20")
    config = base.get_config()
    config.name = f"deepsdf-{variant}" if variant else "deepsdf"
    config.data.source = "solids"
    config.data.count = 20
    config.model.family = "deepsdf"
    config.model.width = 512  # of the layers; at least 1
    config.model.depth = 8  # layers before the last; at least 2, of which the middle one takes the input again
    config.model.bands = 6  # octaves of sines and cosines of a place, 0 to 16; relu_pe
    config.model.activation = "relu_pe"  # relu_pe | siren: sines, of the places alone
    config.latent.channels = 64
    config.code = code = ml_collections.ConfigDict()
    code.weight = 1e-5  # of the norm of a code; at least 0
    code.norm = "squared"  # squared | plain
    code.between_weight = 0.0  # of the slope's distance from 1 halfway between two codes; 0: not asked
    config.search = search = ml_collections.ConfigDict()  # of the code of a shape that has none
    search.steps = 800  # of Adam, at least 1; in the second half a tenth of the rate
    search.learning_rate = 5e-3
    search.points = 8000  # drawn in each step, of sdf.seen_points
    search.starts = (
        3  # at least 1; of several the one is kept whose error is least on a fifth of the points, not fitted
    )
    search.weight = 1e-4  # of the mean square of the code
    config.sdf.seen_points = 20_000
    config.sdf.points = 8192
    config.optimiser.learning_rate = 5e-4
    config.optimiser.scale.codes = 2.0
    config.train.batch_size = 4
    config.train.steps = 20_000
    config.evaluate.pictures = 4
    config.diagnostics.every_steps = 500
    config.validate.every_steps = 500
    config.checkpoint.every_steps = 2000
    if variant == "small":
        config.model.width, config.model.depth = 256, 4
        config.sdf.points = 128
        config.search.steps, config.search.points, config.search.starts = 400, 1024, 1
        config.optimiser.learning_rate = 2e-3
        config.optimiser.warmup_steps = 50
        config.optimiser.decay = "cosine"
        config.train.batch_size = 20
        config.train.steps = 10_000
        config.train.ema = 0.999
        config.extract.grid = 128
        config.score.samples = 20_000
    return config


if __name__ == "__main__":
    print(TWENTY)
