"""A vision transformer as DINOv2's, with weights that a file gives: how they are read, and what it says of pictures.

The tensors of a safetensors file are named as in the original code or as in Hugging Face's, after any prefix. Positions,
of 37 x 37 patches, are resized once, as they are read, to the patches that a picture has. Nothing here is trained.

Source: Oquab et al. 2023 (arXiv:2304.07193), and the form of the code published with it.
"""

import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax import names
from hexjax.models.parts import blocks
from hexjax.types import Array, Params

PATCH_PX = 14
GRID = 37  # patches a side that the positions in a file are of
# The original asks for positions of so much of a patch more a side than there are, and so they lie a little denser; it was
# against rounding once. Hugging Face's port leaves it out.
MORE = 0.1
SLOPE = -0.75  # of the cubic kernel at 1, as in PyTorch, which all weights were resized by; jax.image.resize has -0.5
EPSILON = 1e-6  # of the norms
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures, in [0, 1]
DTYPES = ("BF16", "F16", "F32", "F64")
ACCEPTED = "accepted: a safetensors file of DINOv2's weights"
BLOCKS = ("blocks", "encoder.layer")  # what the names of a block begin with in the two ways to name
QKV = ("query", "key", "value")


def tensors(width: int, count: int, way: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """By our names, with the number of a block before them, names in a file and shapes; several are stacked on axis 0.

    Args:
        count: of blocks; way: 0 as the original names them, 1 as Hugging Face does.
    """
    d, patch = width, (width, 3, PATCH_PX, PATCH_PX)
    linear = lambda ours, theirs, out, into: {
        f"{ours}_kernel": {f"{name}.weight": (out, into) for name in theirs},
        f"{ours}_bias": {f"{name}.bias": (out,) for name in theirs},
    }
    norm = lambda ours, theirs: {f"{ours}_scale": {f"{theirs}.weight": (d,)}, f"{ours}_bias": {f"{theirs}.bias": (d,)}}
    stem, inner = ("patch_embed.proj", "embeddings.patch_embeddings.projection")[way], ("attn", "attention")[way]
    found = {
        "first": {("cls_token", "embeddings.cls_token")[way]: (1, 1, d)},
        "place": {("pos_embed", "embeddings.position_embeddings")[way]: (1, 1 + GRID**2, d)},
        "patch_kernel": {f"{stem}.weight": patch},
        "patch_bias": {f"{stem}.bias": (d,)},
    }
    found |= norm("norm", ("norm", "layernorm")[way])
    qkv = (
        linear("qkv", ["attn.qkv"], 3 * d, d)
        if way == 0
        else linear("qkv", [f"{inner}.{inner}.{q}" for q in QKV], d, d)
    )
    block = norm("norm1", "norm1") | qkv | linear("out", [(f"{inner}.proj", f"{inner}.output.dense")[way]], d, d)
    block |= {"gain1": {("ls1.gamma", "layer_scale1.lambda1")[way]: (d,)}} | norm("norm2", "norm2")
    block |= linear("wide", ["mlp.fc1"], 4 * d, d) | linear("narrow", ["mlp.fc2"], d, 4 * d)
    block |= {"gain2": {("ls2.gamma", "layer_scale2.lambda1")[way]: (d,)}}
    for i in range(count):
        for ours, parts in block.items():
            found[f"{i}.{ours}"] = {f"{BLOCKS[way]}.{i}.{name}": shape for name, shape in parts.items()}
    return found


def layout(width: int, count: int, side: int) -> Params:
    """Shapes of the parameters, float32, for pictures of side x side patches; those of all blocks are stacked."""
    shapes = {"first": (1, 1, width), "place": (1, side**2, width)}
    for ours, parts in tensors(width, min(count, 1), 0).items():
        shape = next(iter(parts.values()))
        if ours not in shapes:
            shapes[ours] = (math.prod(shape[1:]), shape[0]) if ours.endswith("_kernel") else shape
    form = lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    whole = {ours: form(shape) for ours, shape in shapes.items() if "." not in ours}
    stacked = {ours[2:]: form((count, *shape)) for ours, shape in shapes.items() if "." in ours}
    return whole | {"blocks": stacked}


def check(path: str, width: int, count: int) -> None:
    """Nothing; a file has all tensors of that width and number of blocks. Its head is read alone.

    Raises:
        ValueError: in one line, where there is no such file, and for the first tensor that does not fit.
    """
    with _opened(path) as file:
        _listed(file, path, width, count)


def read(path: str, width: int, count: int, side: int) -> Params:
    """The parameters that a file gives, as NumPy arrays of `layout`.

    Raises:
        ValueError: as `check`.
    """
    with _opened(path) as file:
        whole = lambda parts: np.concatenate([np.asarray(file.get_tensor(name), np.float32) for name in parts])
        found = {ours: whole(parts) for ours, parts in _listed(file, path, width, count).items()}
    for ours, value in found.items():
        if ours.endswith("_kernel"):  # of a layer [out, in], of patches [out, colour, row, column]
            found[ours] = value.T if value.ndim == 2 else value.transpose(2, 3, 1, 0).reshape(-1, width)
    place = found.pop("place")
    found["first"] = found["first"] + place[:, :1]
    stacked = {
        ours[2:]: np.stack([found.pop(f"{i}.{ours[2:]}") for i in range(count)])
        for ours in [*found]
        if ours.startswith("0.")
    }
    return found | {"place": resized(place[:, 1:], side), "blocks": stacked}


def resized(place: Float[np.ndarray, "1 n d"], side: int) -> Float[np.ndarray, "1 m d"]:
    """Positions of GRID x GRID patches, as those of side x side: bicubic without smoothing; as they are where they fit."""
    if side == GRID:
        return place
    weights = cubic(GRID, side)
    square = place.reshape(GRID, GRID, -1)
    return np.einsum("ih,jw,hwd->ijd", weights, weights, square, optimize=True).reshape(1, side**2, -1)


def cubic(count: int, side: int) -> Float[np.ndarray, "i n"]:
    """What each of `count` values in a row gives to each of `side` between them; the outermost go on outwards.

    Source: PyTorch's bicubic interpolation by a scale factor of (side + MORE) / count, pixels as areas.
    """
    at = (np.arange(side) + 0.5) * count / (side + MORE) - 0.5
    weights = np.zeros((side, count), np.float32)
    for place in (np.floor(at)[:, None] + np.arange(-1, 3)[None]).T:
        x = np.abs(at - place)
        near = (SLOPE + 2) * x**3 - (SLOPE + 3) * x**2 + 1
        far = SLOPE * (x**3 - 5 * x**2 + 8 * x - 4)
        share = np.where(x <= 1, near, np.where(x < 2, far, 0))
        np.add.at(weights, (np.arange(side), np.clip(place, 0, count - 1).astype(int)), share)
    return weights


def features(
    params: Params, pictures: Float[Array, "b h w 3"], heads: int, dtype: jnp.dtype
) -> tuple[Float[Array, "b d"], Float[Array, "b t d"]]:
    """Of pictures in [0, 1], the normed first token, and those of the patches, row by row; products are of `dtype`."""
    dense = lambda x, at, name: (
        jnp.matmul(x.astype(dtype), at[f"{name}_kernel"].astype(dtype), preferred_element_type=jnp.float32)
        + at[f"{name}_bias"][None, None]
    )

    def norm(x: Array, at: Params, name: str) -> Array:
        x = x - x.mean(-1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON)
        return x * at[f"{name}_scale"][None, None] + at[f"{name}_bias"][None, None]

    def block(x: Array, at: Params) -> tuple[Array, None]:
        seen = dense(norm(x, at, "norm1"), at, "qkv").astype(dtype)
        split = seen.reshape(*x.shape[:2], 3, heads, -1)
        y = blocks.attend(split[:, :, 0], split[:, :, 1], split[:, :, 2]).reshape(x.shape)
        x = x + at["gain1"][None, None] * dense(y, at, "out")
        y = jax.nn.gelu(dense(norm(x, at, "norm2"), at, "wide"), approximate=False)
        return x + at["gain2"][None, None] * dense(y, at, "narrow"), None

    colours = lambda values: jnp.asarray(values, jnp.float32)[None, None, None]
    cells = blocks.space_to_depth((pictures - colours(MEAN)) / colours(DEVIATION), PATCH_PX)
    x = dense(cells.reshape(len(cells), -1, cells.shape[-1]), params, "patch") + params["place"]
    x = jnp.concatenate([jnp.broadcast_to(params["first"], (len(x), 1, x.shape[-1])), x], 1)
    x = norm(jax.lax.scan(block, x, params["blocks"])[0], params, "norm")
    return x[:, 0], x[:, 1:]


def _opened(path: str) -> Any:
    """The file, within a `with`."""
    said = f"config.views.weights is {names.shown(path)}"
    try:
        import safetensors
    except ImportError as error:
        raise ValueError(f"{said}, which the package safetensors reads: pip install 'hexjax[dinov2]'") from error
    file: pathlib.Path = names.expand(path)
    if not file.is_file():
        raise ValueError(f"{said}, where no file is; {ACCEPTED}")
    try:
        return safetensors.safe_open(file, framework="numpy")
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{said}, which is no whole safetensors file; {ACCEPTED}") from error


def _listed(file: Any, path: str, width: int, count: int) -> dict[str, list[str]]:
    """By our names, the names in a file whose tensors stand one after the other."""
    known, said = {*file.keys()}, f"config.views.weights is {names.shown(path)}"
    starts = sorted(name for name in known if name.endswith("cls_token"))
    way = int(any(name.endswith("embeddings.cls_token") for name in starts))
    ends = ("cls_token", "embeddings.cls_token")[way]
    prefix = next((name.removesuffix(ends) for name in starts if name.endswith(ends)), "")
    found = {}
    for ours, parts in tensors(width, count, way).items():
        for name, shape in parts.items():
            _check(file, prefix + name, known, shape, f"config.model.width is {width}", said)
        found[ours] = [prefix + name for name in parts]
    if any(name.startswith(f"{prefix}{BLOCKS[way]}.{count}.") for name in known):
        raise ValueError(f"{said}, which has more blocks than config.model.blocks = {count}; {ACCEPTED}, whole")
    if any(name.endswith("register_tokens") for name in known):
        raise ValueError(f"{said}, which has register tokens; {ACCEPTED} without")
    return found


def _check(file: Any, name: str, known: set[str], shape: tuple[int, ...], width: str, said: str) -> None:
    if name not in known:
        raise ValueError(f"{said}, without the tensor {name}; {ACCEPTED}")
    head = file.get_slice(name)
    if tuple(head.get_shape()) != shape:
        got = tuple(head.get_shape())
        raise ValueError(f"{said}, whose tensor {name} has the shape {got}; accepted, as {width}: {shape}")
    if head.get_dtype() not in DTYPES:
        raise ValueError(f"{said}, whose tensor {name} is of {head.get_dtype()}; accepted: {' | '.join(DTYPES)}")
