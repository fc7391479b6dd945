"""Every shared key, with its unit. An experiment is this file plus differences; values live in config files only."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.name = "base"  # of the run folder
    config.seed = 0

    config.data = data = ml_collections.ConfigDict()
    data.path = ""  # a mesh file, a folder of meshes or an NPZ set; empty: data.source
    data.source = "procedural"  # procedural, or a named public mesh that is fetched once (data/sources.py lists them)
    data.up = "y"  # which axis of the source points up: y | z
    data.count = 1  # shapes taken from the source: heads made, or the first so many files; 0 takes all files
    data.cached = True  # maps rendered once and kept on the device; False renders them anew in every step

    config.hexplane = hexplane = ml_collections.ConfigDict()
    hexplane.resolution_px = 512  # side of each of the six maps

    config.model = model = ml_collections.ConfigDict()
    model.family = "hexplane_ae"  # a module of hexjax/models
    model.input = "continuous"  # continuous: depth and normals | binary: silhouettes
    model.stem_px = 4  # pixels a side that one stem cell sees: a power of two
    model.widths = (
        32,
        64,
        128,
        256,
    )  # channels of the convolution levels, finest first; each halves the side of the one before
    model.blocks = 1  # residual blocks a level
    model.width_scale = 1.0  # multiplies every channel count but the latent's; 1.14 is about +30 % parameters
    model.mixer_side = 8  # patches a side of each view in the blocks where all six views see each other
    model.mixer_width = 512  # channels of those blocks
    model.mixer_blocks = 5  # on each side of the latent
    model.mixer_heads = 8
    model.dtype = "float32"  # of the arithmetic inside blocks: float32 | bfloat16

    config.latent = latent = ml_collections.ConfigDict()
    latent.kind = "deterministic"  # deterministic | gaussian
    latent.side = 16  # cells a side of each view's latent
    latent.channels = 256  # floats a cell
    latent.bits = 32  # stored bits a float: 32 | 16

    # Read by latent.kind = gaussian; the values here switch every control off.
    config.kl = kl = ml_collections.ConfigDict()
    kl.initial_weight = 0.0
    kl.final_weight = 0.0
    kl.warmup_steps = 0  # linear from the initial to the final weight; 0: the final one at once
    kl.cap = 1.0  # the most that the KL term may be of the total, in (0, 1]; 1: no cap
    kl.cap_mode = "clip"  # clip: no gradient above the cap, as published | scale | penalty
    kl.prior_variance = 1.0
    kl.free_bits = 0.0  # nats a latent float that cost nothing
    kl.reduction = "sum"  # over the latent's floats: sum | mean
    kl.log_variance_limit = float("inf")  # the posterior's log-variance is clamped to plus and minus this

    config.reconstruction = reconstruction = ml_collections.ConfigDict()
    reconstruction.kind = (
        "surface"  # surface: mask as a logit, depth and normals where there is surface | channels: squared error
    )
    reconstruction.reduction = "mean"  # over pixels and channels: mean | sum
    reconstruction.depth_weight = (
        10.0  # of the depth error (world units) against the mask's cross-entropy (nats); surface
    )
    reconstruction.normal_weight = 2.0  # of 1 - cosine; surface

    config.sdf = sdf = ml_collections.ConfigDict()
    sdf.weight = 0.0  # of the signed-distance supervision through the fused field; 0: none
    sdf.pool_points = 131072  # made once a shape: 3/4 within 0.05 of the surface, 1/4 uniform in the cube
    sdf.points = 2048  # drawn from the pool in each step, a shape

    config.optimiser = optimiser = ml_collections.ConfigDict()
    optimiser.learning_rate = 1e-4  # Adam
    optimiser.beta2 = 0.999  # Adam's memory of squared gradients; shorter for short runs
    optimiser.warmup_steps = 0  # linear from 0
    optimiser.decay = "none"  # none | cosine, to 0 at train.steps
    optimiser.clip_norm = float("inf")  # global norm of the gradient; infinity: no clipping

    config.train = train = ml_collections.ConfigDict()
    train.steps = 2000
    train.batch_size = 1

    config.log = log = ml_collections.ConfigDict()
    log.every_steps = 10  # rows of metrics.jsonl
    config.checkpoint = checkpoint = ml_collections.ConfigDict()
    checkpoint.every_steps = 500
    checkpoint.keep = 3  # newest checkpoints kept
    config.validate = validate = ml_collections.ConfigDict()
    validate.every_steps = 100  # the loss on fixed items with fixed keys
    config.evaluate = evaluate = ml_collections.ConfigDict()
    evaluate.every_steps = 0  # decode, mesh and score on the way; 0: only at the end

    config.extract = extract = ml_collections.ConfigDict()
    extract.grid = 256  # nodes a side of the marching-cubes grid
    extract.threshold = 0.5  # coverage at which a silhouette ends; read by model.input = binary
    extract.min_part_share = 0.01  # parts with less of the mesh's area than this are dropped

    config.score = score = ml_collections.ConfigDict()
    score.samples = 100_000  # points a side
    return config


def make_small(config: ml_collections.ConfigDict) -> None:
    """Changes an experiment to its CPU size: about two minutes on two cores."""
    config.name += "-small"
    config.hexplane.resolution_px = 128
    config.model.stem_px = 8
    config.model.widths = (96, 160)
    config.model.mixer_width = 128
    config.model.mixer_blocks = 2
    config.model.mixer_heads = 4
    config.latent.side = 8
    config.latent.channels = 64
    config.extract.grid = 192
    config.optimiser.learning_rate = 6e-3
    config.optimiser.beta2 = 0.99
    config.optimiser.warmup_steps = 30
    config.optimiser.decay = "cosine"
    config.optimiser.clip_norm = 1.0
    config.train.steps = 1200
