"""Every shared key, with its unit. An experiment is this file plus differences; values live in config files only."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.name = "base"  # of the run folder
    config.seed = 0

    config.data = data = ml_collections.ConfigDict()
    data.path = ""  # a mesh file, a folder of meshes or an NPZ set; empty: data.source
    data.source = "procedural"  # procedural: heads | solids: shapes of many kinds | a named public mesh, fetched once
    data.up = "y"  # which axis of the source points up: y | z
    data.count = 1  # shapes taken from the source: heads made, or the first so many files; 0 takes all files
    data.names = ()  # shapes of the path to take, in this order, before data.count; (): all
    data.split = ()  # shares of the shapes that train, validate and test, as (0.8, 0.1, 0.1), by category; (): all train
    data.split_seed = 0  # of the split alone: runs of many seeds share it
    data.held_out = ()  # names or categories of shapes that only test, whatever the split is; their near-duplicates too
    data.close = False  # open meshes are closed at winding number 1/2; those without an inside are left out
    data.augment = "none"  # a symmetry drawn in each step, a shape: none | mirror: left and right | cube: all 48
    data.cached = True  # maps rendered once and kept on the device; False renders them anew in every step

    config.hexplane = hexplane = ml_collections.ConfigDict()
    hexplane.resolution_px = 512  # side of each of the six maps

    config.model = model = ml_collections.ConfigDict()
    model.family = "hexplane_ae"  # a module of hexjax/models; keys of its own stand in its configs
    # continuous: depth and normals | binary: six silhouettes | silhouettes: the three independent ones | binary_sdf and
    # silhouette_sdf: the same six or three as signed distances | depth: three depth maps | voxels: a grid of resolution_px
    # nodes a side
    model.input = "continuous"
    model.dtype = "float32"  # of the arithmetic inside blocks: float32 | bfloat16

    config.latent = latent = ml_collections.ConfigDict()
    # deterministic | gaussian | vamp_prior and flow_prior: gaussian with a learned prior | bernoulli | categorical | fsq
    latent.kind = "deterministic"
    latent.side = 16  # cells a side of each view's latent
    latent.channels = 256  # floats a cell
    latent.bits = 32  # stored bits a float of kinds that are not discrete: 32 | 16
    latent.codes = 8  # levels of each float; fsq
    latent.estimator = (
        "straight_through"  # of gradients through codes: straight_through | gumbel; bernoulli, categorical
    )
    latent.temperature = 0.5  # of the Gumbel relaxation
    latent.pseudo_inputs = 32  # components of the prior; vamp_prior
    latent.flow_layers = 4  # coupling layers of the prior; flow_prior
    latent.flow_width = 64  # hidden units of each

    # Read by latents that pay for their rate; the values here switch every control off.
    config.kl = kl = ml_collections.ConfigDict()
    kl.initial_weight = 0.0
    kl.final_weight = 0.0
    kl.warmup_steps = 0  # linear from the initial to the final weight; 0: the final one at once
    kl.cap = 1.0  # the most that the KL term may be of the total, in (0, 1]; 1: no cap
    kl.cap_mode = "clip"  # clip: no gradient above the cap, as published | scale | penalty
    kl.prior_variance = 1.0
    kl.free_bits = 0.0  # nats a latent float that cost nothing
    kl.reduction = "sum"  # over the latent's floats: sum | mean
    kl.log_variance_limit = float("inf")  # the log-variance is cut at plus and minus this, and has no gradient beyond

    config.reconstruction = reconstruction = ml_collections.ConfigDict()
    # surface: mask as a logit, depth and normals where there is surface | channels: squared error, as published | gaussian
    # of a given variance | calibrated_gaussian: of the variance that fits | bernoulli | continuous_bernoulli
    reconstruction.kind = "surface"
    reconstruction.reduction = "mean"  # over pixels and channels: mean | sum
    reconstruction.depth_weight = (
        10.0  # of the depth error (world units) against the mask's cross-entropy (nats); surface
    )
    reconstruction.depth_knee = (
        0.0  # world units: smaller depth errors are squared, as Huber's; 0: all are absolute; surface
    )
    # Where a decoder is not sure which of two surfaces a pixel shows, more than a pixel apart, it gives this quantile of the
    # depths: 0.5 the median; lower ones are nearer to the view, and tear no holes into what other views see; surface
    reconstruction.depth_quantile = 0.5
    reconstruction.normal_weight = 2.0  # of 1 - cosine; surface
    reconstruction.variance = 1.0  # gaussian
    reconstruction.sigma_floor = 0.01  # least standard deviation; calibrated_gaussian

    config.sdf = sdf = ml_collections.ConfigDict()
    sdf.weight = 0.0  # of the signed-distance supervision through the fused field; 0: none
    sdf.pool_points = 131072  # made once a shape: 3/4 within 0.05 of the surface, 1/4 uniform in the cube
    sdf.points = 2048  # drawn from the pool in each step, a shape
    sdf.seen_points = 0  # made of a shape that is encoded by its distances; 0: as many as sdf.points
    # law of those near the surface: uniform in a distance up to 0.05 | normal: of deviations 0.0025 and 0.00025, half each
    sdf.near = "uniform"

    # Pools and samples of a shape that some families read.
    config.surface = surface = ml_collections.ConfigDict()
    surface.pool_points = 65536  # samples of the surface, uniform over its area, made once a shape
    surface.points = 4096  # drawn from the pool in each step, a shape; so many are made of a new one
    config.salient = salient = ml_collections.ConfigDict()
    salient.pool_points = 32768  # samples of edges with a dihedral angle above 30 degrees, uniform over their length
    salient.points = 4096  # drawn from the pool in each step, a shape; so many are made of a new one
    config.views = views = ml_collections.ConfigDict()  # pictures of a shape from cameras around it
    views.count = 64  # cameras
    views.held = 16  # of them, the last in their order, never trained with
    views.drawn = 2  # different ones in each step, a shape
    views.shown = 8  # that a draw is told by at an evaluation, the first of those that are trained with
    views.shown_held = False  # or of those that are never trained with
    views.resolution_px = 112  # side of a picture
    views.distance = 2.5  # of a camera from the centre, in the shape's radius about it; above 1
    views.field_of_view = 0.85  # radians, across a picture
    views.channels = "shaded"  # shaded | depth | normal | all
    views.shading = "rough"  # rough: with highlights | lambert
    config.cells = cells = ml_collections.ConfigDict()
    cells.side = (
        32  # cells a side of the grid whose cells at the surface are told, with signed distances at their corners
    )
    cells.capacity = 8192  # cells that a shape has room for
    config.distance_grid = distance_grid = ml_collections.ConfigDict()
    distance_grid.side = 64  # nodes a side of the dense grid of signed distances
    config.inside = inside = ml_collections.ConfigDict()
    inside.points = 4096  # places, the same for all shapes, whose occupancy diagnostics ask

    config.optimiser = optimiser = ml_collections.ConfigDict()
    optimiser.kind = (
        "adam"  # adam | muon, whose steps turn the weights of a layer as a whole; for all else Adam, with Nesterov
    )
    optimiser.learning_rate = 1e-4  # of both
    optimiser.beta2 = 0.999  # Adam's memory of squared gradients; shorter for short runs
    optimiser.epsilon = 1e-8  # Adam's: parameters whose gradients are smaller hardly move
    optimiser.warmup_steps = 0  # linear from 0
    optimiser.decay = "none"  # none | cosine, to 0 at train.steps | halving, by steps after the warm-up as DeepSDF's
    optimiser.halve_every_steps = 500  # halving
    optimiser.clip_norm = float("inf")  # global norm of the gradient; infinity: no clipping
    # Shares of the learning rate by group of the parameters, as optimiser.scale.encoder; 1 where none is given. 0: the group
    # stays as it is, without a gradient, and clip_norm does not count it.
    optimiser.scale = ml_collections.ConfigDict()

    config.train = train = ml_collections.ConfigDict()
    train.steps = 2000
    train.batch_size = 1
    train.ema = 0.0  # decay of an average of the parameters, shorter in the first steps, which is scored; 0: none

    config.log = log = ml_collections.ConfigDict()
    log.every_steps = 10  # rows of metrics.jsonl
    config.checkpoint = checkpoint = ml_collections.ConfigDict()
    checkpoint.every_steps = 500
    checkpoint.keep = 3  # newest checkpoints kept
    checkpoint.keep_every_steps = 0  # checkpoints at multiples of it stay for good, for --mode=view; 0: none
    config.validate = validate = ml_collections.ConfigDict()
    validate.every_steps = 100  # the loss on fixed items with fixed keys
    config.evaluate = evaluate = ml_collections.ConfigDict()
    evaluate.every_steps = 0  # decode, mesh and score on the way; 0: only at the end
    evaluate.shapes = 0  # the first so many of the data are scored; 0: all
    evaluate.pictures = 8  # the first so many of those get pictures, which take longer than scores; 0: none

    evaluate.baselines = True  # where shapes are held out, what they score without a learned model stands beside

    # A verdict on the latent while training runs, from posteriors and reconstructions of a few shapes.
    config.diagnostics = diagnostics = ml_collections.ConfigDict()
    diagnostics.every_steps = 200  # 0: only at the end
    diagnostics.shapes = 16  # the first so many of the data
    # report | stop: with exit code 4, in the second half of the run | escape: where the latent is found collapsed, the KL
    # weight is lowered and its means are aligned with a teacher, until a witness certifies it; exit code 4 where none does
    diagnostics.on_collapse = "report"

    # The simplex witness: a frozen teacher's classes, told from the latent's mean.
    config.witness = witness = ml_collections.ConfigDict()
    witness.classes = 0  # of the teacher; 0: no witness
    witness.components = 8  # principal components of the inputs that the teacher sees
    witness.teacher_temperature = 1.0
    witness.floor = 0.01  # least probability of a class, below 1 / classes
    witness.temperature = 1.0  # of the simplex: logits are so many times the products with its vertices
    witness.weight = 0.0  # of the alignment loss in nats; 0: the witness only watches
    witness.prefit_steps = 0  # steps that only fit the mean to the teacher's analytic code, before the loss

    config.extract = extract = ml_collections.ConfigDict()
    extract.grid = 256  # nodes a side of the marching-cubes grid
    extract.threshold = 0.5  # coverage at which a silhouette ends; read by model.input = binary
    extract.min_part_share = 0.01  # parts with less of the mesh's area than this are dropped

    config.sample = sample = ml_collections.ConfigDict()
    sample.count = 16  # shapes drawn from the prior by --mode=sample
    sample.seed = 0  # of the draws; draw i is a function of this seed and i
    sample.image = (
        ""  # a picture, or several with commas between, of what is to be drawn, where a family draws by pictures
    )
    sample.azimuth = ()  # radians, of each picture; (): as in the known view that is most like it
    sample.elevation = ()

    config.export = export = ml_collections.ConfigDict()
    export.shapes = 10  # the first so many that --mode=view shows; 0: all
    export.megabytes = 10.0  # of a page, which holds meshes and maps as fine as fit

    config.score = score = ml_collections.ConfigDict()
    score.samples = 100_000  # points a side
    return config


def make_hexplane_ae(config: ml_collections.ConfigDict) -> None:
    """Adds the keys of the family hexplane_ae, which its file checks."""
    model = config.model
    model.stem_px = 4  # pixels a side that one stem cell sees: a power of two
    model.widths = (32, 64, 128, 256)  # channels of the convolution levels, finest first; each halves the side
    model.blocks = 1  # residual blocks a level, at least 0
    model.width_scale = 1.0  # above 0: multiplies every channel count but the latent's; 1.14 is about +30 % parameters
    model.mixer_side = 8  # patches a side of each view where all six views see each other: a divisor of latent.side
    model.mixer_width = 512  # channels of those blocks, at least 1
    model.mixer_blocks = 5  # on each side of the latent; 0: convolutions alone, and no view sees another
    model.mixer_heads = 8  # at least 1


def make_published(config: ml_collections.ConfigDict) -> None:
    """Changes an experiment of hexplane_ae to networks as published: convolutions alone, 38 M parameters.

    The published text gives their kind and their size; stem, widths and blocks are ours.
    """
    config.name += "-published"
    config.model.widths = (64, 128, 256, 944)
    config.model.mixer_blocks = 0


def make_laboratory(config: ml_collections.ConfigDict) -> None:
    """Changes an experiment to a sweep of the collapse laboratory: perceptrons on planes of 32^2, many runs at once.

    Data: 750 procedural solids; with --config.data.path=FOLDER,FOLDER --config.data.count=0 your own.
    """
    config.data.source = "solids"
    config.data.count = 750
    config.model.family = "hexplane_mlp"
    config.model.input = "silhouettes"
    config.model.widths = (128, 128)  # of the perceptrons' hidden layers
    config.model.width_scale = 1.0  # multiplies them
    config.hexplane.resolution_px = 32
    config.latent.kind = "gaussian"
    config.latent.side = 4
    config.latent.channels = 2  # 32 floats
    config.kl.final_weight = 1.0
    config.reconstruction.kind = "bernoulli"
    config.reconstruction.reduction = "sum"
    config.optimiser.learning_rate = 1e-3
    config.train.steps = 1000
    config.train.batch_size = 32
    config.witness.classes = 8
    config.witness.components = 16

    config.sweep = sweep = ml_collections.ConfigDict()
    sweep.form = "vmapped"  # vmapped: a cell is many runs in one program | runs: one, in a folder as of --mode=train
    sweep.cells = ()  # "name: key=value key=value"; a knob may have several values, "kl.final_weight=1|8"
    sweep.seeds = 5  # runs of each setting of a cell
    sweep.shapes = 0  # training shapes; 0: all that are not held out
    sweep.held_out = 0.3  # share of the shapes that judge
    sweep.measure_every_steps = 50
    sweep.together = "vmap"  # how a cell's runs share a program: vmap | map
    sweep.control = ""  # what a table calls the cell's control of the KL term
    sweep.start = (
        ""  # a cell before this one, without a start of its own: runs begin as its runs of the same seeds ended
    )
    sweep.constant_mean = False  # of a start: its encoder is made to say the same of every shape, and Adam forgets
    sweep.forget = False  # of a start: Adam forgets the gradients that it has seen


def make_small(config: ml_collections.ConfigDict) -> None:
    """Changes an experiment to its CPU size: about two minutes on two cores."""
    config.name += "-small"
    config.hexplane.resolution_px = 128
    config.latent.side = 8
    config.latent.channels = 64
    config.extract.grid = 192
    config.optimiser.learning_rate = 6e-3
    config.optimiser.beta2 = 0.99
    config.optimiser.warmup_steps = 30
    config.optimiser.decay = "cosine"
    config.optimiser.clip_norm = 1.0
    config.train.steps = 1200
    if config.model.family == "hexplane_ae":
        config.model.stem_px = 8
        config.model.widths = (96, 160)
        config.model.mixer_width = 128
        config.model.mixer_blocks = 2
        config.model.mixer_heads = 4
