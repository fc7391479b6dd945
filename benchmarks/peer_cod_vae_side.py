"""The peer's side of peer_cod_vae: its sizes, our pools in its layout, its trainer, weights of it, and our scores of both.

Its model has two stages: an autoencoder, whose tokens are as wide as the network, and behind it the latent's bottleneck alone.
"""

import dataclasses
import functools
import importlib.metadata
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import common, peer_cod_vae_table

RECIPES = {
    "own": (1e-4, True),
    "raised": (1e-3, False),
}  # the rate in effect (its own is of a batch of 256), its augmentation
SHARES = {1: 0.75, 2: 0.25}  # of the seconds, a stage: as the published models took 2.2 days and 18 hours
EPOCHS, MILESTONES = (
    10,
    (6, 7, 8, 9),
)  # of a stage, and of those where the rate of stage 2 is halved: a tenth of its own
PROBE = 20  # steps from which the pace of a stage is taken
TOLERANCE = 0.2  # of our parameters
HEADS = 4  # of its attention, of which its width is a multiple
SHAPE = {  # the published depths over three, a plane of half the side
    "encoder_num_patches": 256, "encoder_num_blocks": 2, "encoder_num_layers_per_block": 1, "decoder_num_layers": 4,
    "num_latent_layers": 4, "decoder_output_resolution": 64, "num_heads": HEADS,
}  # fmt: skip
OBJECT = 0.9  # half of the longest side of what its own `encode_mesh` encodes
OWN_POINTS = 2048  # of a surface, which published weights were trained with
INSIDE = 0.1  # world units a logit, as of our families of occupancy
CONFIG = "__config__"  # in a file of weights
TOY_SHAPE = SHAPE | {
    "encoder_num_patches": 16, "encoder_num_blocks": 1, "decoder_num_layers": 1, "num_latent_layers": 1,
    "decoder_output_resolution": 8, "decoder_output_patch_size": 4, "query_dim": 4, "point_embed_hidden_dim": 12,
}  # fmt: skip
ACCEPTED = "accepted: a file that cod_vae 1.0.0 saved"


def clock() -> tuple[float, float]:
    """Seconds and CPU seconds of this process, from some beginning."""
    return time.perf_counter(), time.process_time()


def elapsed(since: tuple[float, float], until: tuple[float, float], steps: int) -> dict[str, Any]:
    """What the steps after the first one took."""
    seconds, busy = (round(after - before, 2) for before, after in zip(since, until))
    return {"steps": steps, "seconds": seconds, "cpu_seconds": busy}


def chosen(mean: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the means that are told."""
    return {name: mean[name] for name in peer_cod_vae_table.SCORES if name in mean}


def summary(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the held-out and the trained shapes, and of the held-out ones how many failed and the volume of each."""
    import numpy as np

    from hexjax.evaluation import rows

    parts = {part: [each for each in items if each["part"] == part] for part in (rows.HELD_OUT, rows.TRAINED)}
    held = parts[rows.HELD_OUT]
    told = {part: chosen(rows.summary(found, np.mean)) for part, found in parts.items() if found}
    told |= {"failed": sum(each["failed"] for each in held), "v_iou": {each["name"]: each["v_iou"] for each in held}}
    return told | {"encode_seconds": float(np.median([each["seconds"]["encode"] for each in held]))}


def row(name: str, config: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the peer: trained or read, and scored on the shapes that our row is scored on.

    Raises:
        ValueError: for shapes, sizes or weights that do not fit.
    """
    from hexjax.data import sets, sources

    if name == "weights":
        shape, params = read_weights(pathlib.Path(settings["weights"]))
        config.unlock()
        config.surface.points = OWN_POINTS
    data = config.data
    entries = sources.listing(data.path, data.source, data.count, config.seed, data.names)
    items, split = sets.load(config, entries, True)
    told = {"cod_vae": importlib.metadata.version("cod-vae")}
    if name == "weights":
        told |= {"file": pathlib.Path(settings["weights"]).name}
    else:
        shape = sized(
            settings.get("parameters") or our_parameters(config), config, TOY_SHAPE if settings["toy"] else SHAPE
        )
        with tempfile.TemporaryDirectory() as folder:
            write_layout([items[i] for i in split.train], config, pathlib.Path(folder))
            params, steps = train(shape, name, config, settings["seconds"], pathlib.Path(folder))
        told |= steps
    told |= {
        "floats": shape.num_latents * shape.latent_dim,
        "parameters": count(params),
        "config": dataclasses.asdict(shape),
    }
    return told | summary(score(shape, params, items, split, config, name != "raised"))


def count(params: Mapping[str, Any]) -> int:
    """Numbers that are learnt: the basis of its sines is none."""
    return sum(value.size for name, value in params.items() if not name.endswith(".basis"))


def our_parameters(config: Any) -> int:
    """Parameters of our network for a config, where our row is not run."""
    import jax
    import jax.numpy as jnp

    from hexjax.models import family as families
    from hexjax.types import Spec

    sizes = {
        "surface": (config.surface.points, 3),
        "salient": (config.salient.points, 3),
        "points": (config.sdf.points, 3),
    }
    sizes |= dict.fromkeys(("sdf", "sure"), (config.sdf.points,)) | {"inside": (config.inside.points,)}
    spec = Spec({name: jax.ShapeDtypeStruct(size, jnp.float32) for name, size in sizes.items()}, 1, ())
    batch = {"surface": jnp.zeros((1, *sizes["surface"]))}
    made = jax.eval_shape(lambda key: families.make(spec, config, {}).init(batch, key, {}), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(made))


def sized(parameters: int, config: Any, shape: Mapping[str, Any]) -> Any:
    """The peer's config with as many floats of latent as ours, and of the width whose parameters are nearest to ours.

    Args:
        shape: its depths and planes.

    Raises:
        ValueError: where no width is within TOLERANCE.
    """
    from cod_vae import CODVAEConfig, init_params

    latent = {"num_latents": config.latent.tokens, "latent_dim": config.latent.channels}
    make = lambda width: CODVAEConfig(embed_dim=width, **shape, **latent)
    return make(nearest_width(parameters, lambda width: count(init_params(make(width)))))


def nearest_width(parameters: int, count_of: Callable[[int], int]) -> int:
    """The multiple of HEADS at which a count, which grows with it, is nearest to so many parameters.

    Raises:
        ValueError: where that is not within TOLERANCE.
    """
    width = HEADS
    before = now = count_of(width)
    while now < parameters:
        width, before, now = width + HEADS, now, count_of(width + HEADS)
    if width > HEADS and parameters - before < now - parameters:
        width, now = width - HEADS, before
    if abs(now / parameters - 1) > TOLERANCE:
        told = f"the peer has {now:,} parameters at width {width}, where it is nearest to ours of {parameters:,}"
        raise ValueError(f"{told}; accepted: within {TOLERANCE:.0%}")
    return width


def pools(item: Any, config: Any, seed: int) -> dict[str, Any]:
    """The peer's pools of one shape: points [p, 3] float32 and labels [p] uint8 that are 1 inside, of sure signs alone.

    `points` are those of our surface pool; `near_points` those of our query pool near the surface (sdf.NEAR), and
    `vol_points` as many uniform ones as that pool holds, drawn anew, because the pool tells the two apart no more.
    """
    import numpy as np

    from hexjax.data import fields
    from hexjax.geometry import sdf

    made = fields.make(item, ("surface", "points", "sdf", "sure"), config, seed, whole=True)
    uniform = np.random.default_rng((seed, 4)).uniform(-1, 1, (config.sdf.pool_points // 4, 3)).astype(np.float32)
    distance, doubtful = sdf.signed_distance(item.mesh, uniform)
    near = (made["sure"] > 0) & (np.abs(made["sdf"]) <= sdf.NEAR)
    found = {"points": made["surface"], "vol_points": uniform[~doubtful], "vol_label": distance[~doubtful] < 0}
    found |= {"near_points": made["points"][near], "near_label": made["sdf"][near] < 0}
    return {name: value.astype(np.uint8 if name.endswith("label") else np.float32) for name, value in found.items()}


def write_layout(items: Sequence[Any], config: Any, folder: pathlib.Path) -> None:
    """Nothing; the pools of the shapes lie in the folder as the peer's reader takes them, one category of numbered shapes.

    Raises:
        ValueError: for a shape with fewer points of sure sign than a step draws.
    """
    import numpy as np

    from hexjax.data import fields

    queries, surfaces = (
        folder / "ShapeNetV2_point" / "shapes",
        folder / "ShapeNetV2_surface" / "shapes" / "4_pointcloud",
    )
    queries.mkdir(parents=True)
    surfaces.mkdir(parents=True)
    for number, item in enumerate(items):
        made, name = pools(item, config, fields.item_seed(config.seed, number)), f"{number:06d}"
        for kind in ("vol_points", "near_points"):
            if len(made[kind]) < config.sdf.points:
                told = f"{item.name} has {len(made[kind])} {kind} of sure sign"
                raise ValueError(f"{told}; accepted: at least {config.sdf.points}, which a step draws (sdf.points)")
        np.savez(surfaces / f"{name}.npz", points=made.pop("points"))
        np.savez(queries / f"{name}.npz", **made)
        np.save(queries / f"{name}.npy", np.float32(1))  # a surface's scale: ours are in the frame already
    lines = "".join(f"{number:06d}\n" for number in range(len(items)))
    (queries / "train.lst").write_text(lines, encoding="utf-8")


class Clocked:
    """A reader of the peer with epochs of so many batches, each of which goes on where the one before ended.

    It notes when the second batch is begun: the peer's trainer has waited for the first step by then.
    """

    def __init__(self, reader: Any, batch: int, batches: int):
        self.reader, self.batch, self.count, self.first = reader, batch, batch * batches, 0
        self.asked, self.mark = 0, clock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        self.first = epoch * self.count
        self.reader.set_epoch(epoch)

    def __getitem__(self, index: int) -> Any:
        if self.asked == self.batch:
            self.mark = clock()
        self.asked += 1
        return self.reader[self.first + index]  # it counts the shapes around


def train(shape: Any, name: str, config: Any, seconds: float, folder: pathlib.Path) -> tuple[Any, dict[str, Any]]:
    """Parameters that the peer's own trainer found in so many seconds, and what both its stages took.

    The latent's bottleneck belongs to stage 2 alone, which keeps the autoencoder of stage 1 as it is.
    """
    from cod_vae import init_params
    from cod_vae.training import ShapeNetVecSetDataset, TrainingConfig

    batch, (rate, augment) = config.train.batch_size, RECIPES[name]
    reader = functools.partial(
        ShapeNetVecSetDataset, folder, pc_size=config.surface.points, num_vol_queries=config.sdf.points,
        num_near_queries=config.sdf.points, augment=augment, seed=config.seed,
    )  # fmt: skip

    def run(stage: int, steps: int, params: Any) -> tuple[Any, dict[str, Any]]:
        from cod_vae.jax import training

        each = max(round(steps / EPOCHS), 1)
        data = Clocked(reader(), batch, each)
        plan = TrainingConfig(
            stage=stage, epochs=EPOCHS, batch_size=batch, base_batch_size=batch, lr=rate, lr_milestones=MILESTONES,
            seed=config.seed,
        )  # fmt: skip
        params = training.train(shape, plan, data, params=params)
        return params, {"stage": stage} | elapsed(data.mark, clock(), EPOCHS * each)

    params, stages = init_params(shape, config.seed), []
    for stage, share in SHARES.items():
        paced = run(stage, PROBE, params)[1]
        pace = paced["seconds"] / (paced["steps"] - 1)
        params, told = run(stage, round(share * seconds / max(pace, 1e-4)) + 1, params)
        stages.append(told)
    whole = {name: round(sum(stage[name] for stage in stages), 2) for name in ("steps", "seconds", "cpu_seconds")}
    asked = {"batch": batch, "rate": rate, "augment": augment}
    return params, whole | {"stages": stages} | asked


def score(shape: Any, params: Any, items: Sequence[Any], split: Any, config: Any, scales: bool) -> list[dict[str, Any]]:
    """The rows of the shapes that our own run scores: scores of each, its part of the split, and seconds.

    Args:
        scales: whether a shape is made as large as the peer's `encode_mesh` makes it, for encoding and for asking.
    """
    import jax
    import numpy as np
    from cod_vae.jax import decode_logits, decode_planes, encode

    from hexjax import pipeline
    from hexjax.data import fields
    from hexjax.evaluation import rows
    from hexjax.geometry import distance, frame

    encoded, planes_of, logits = (
        jax.jit(functools.partial(each, config=shape)) for each in (encode, decode_planes, decode_logits)
    )
    params = jax.device_put(dict(params))
    parts = {i: part for part, held in ((rows.TRAINED, split.train), (rows.HELD_OUT, split.test)) for i in held}
    labels = [parts.get(i, "validation") for i in range(len(items))]
    side, found = np.asarray(frame.grid_nodes(config.extract.grid)), []
    for place in rows.chosen(labels, config.evaluate.shapes):
        item, seconds = items[place], {}
        scale = np.float32(OBJECT / np.abs(item.mesh.vertices).max() if scales else 1)
        seen = fields.make(item, ("surface",), config, config.seed)["surface"]
        given = scale * seen[None]
        seconds["encode"], code = common.timed(lambda given=given: jax.block_until_ready(encoded(params, given)))
        planes = planes_of(params, code)

        def ask(points: Any, planes: Any = planes, scale: Any = scale) -> Any:
            return -INSIDE * np.asarray(logits(params, planes, scale * points[None]))[0]

        slab = lambda x: np.stack(np.broadcast_arrays(x, side[:, None], side), -1).reshape(-1, 3).astype(np.float32)
        values = np.stack([ask(slab(x)).reshape(len(side), len(side)) for x in side])
        mesh, report = pipeline.polygonise(values, config, ask=ask)
        pipeline.tell(item.name, report)
        told = pipeline.score(mesh, item.mesh, config)
        field = distance.field(ask, item.mesh, config.score.samples, config.seed)
        signs = {name: value for name, value in field.items() if name.endswith("sign")}  # a logit is no distance
        found.append(rows.plain({"name": item.name, "part": labels[place], "seconds": seconds} | told | signs))
    return found


def read_weights(file: pathlib.Path) -> tuple[Any, dict[str, Any]]:
    """The config and the tensors of a file that cod_vae saved.

    Raises:
        ValueError: for another file, a config that this version does not know, a tensor that is missing or of another shape.
    """
    import numpy as np
    from cod_vae import CODVAEConfig, init_params

    from hexjax.data import npz

    try:
        with np.load(file, allow_pickle=False) as opened:
            found = {name: opened[name] for name in opened.files}
    except (OSError, AttributeError, TypeError, *npz.BROKEN_ARCHIVE) as error:
        raise ValueError(f"{file.name} cannot be read as NPZ ({type(error).__name__}); {ACCEPTED}") from error
    try:
        settings = json.loads(str(found.pop(CONFIG, "")))
    except ValueError as error:
        raise ValueError(f"{file.name} has no {CONFIG}; {ACCEPTED}") from error
    known = {field.name for field in dataclasses.fields(CODVAEConfig)}
    if unknown := sorted({*settings} - known):
        version = importlib.metadata.version("cod-vae")
        raise ValueError(
            f"{file.name}: its config has {unknown[0]!r}, which cod_vae {version} does not know; {ACCEPTED}"
        )
    shape = CODVAEConfig(**settings)
    refuse_other(file.name, found, {name: value.shape for name, value in init_params(shape).items()})
    return shape, found


def refuse_other(name: str, found: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Nothing, where a file of that name has every tensor, each of its shape.

    Raises:
        ValueError: for the first that is missing or of another shape.
    """
    for tensor, shape in wanted.items():
        if tensor not in found:
            raise ValueError(f"{name} has no tensor {tensor}; accepted: all {len(wanted)} of its config")
        if found[tensor].shape != shape:
            raise ValueError(f"{name}: {tensor} is {list(found[tensor].shape)}; accepted by its config: {list(shape)}")
