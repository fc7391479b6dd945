"""The transformer of others' weights, beside a slow one in NumPy; how files are read, and which are refused."""

import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import scipy.special

from hexjax.models.parts import dinov2
from tests.models import weights
from tests.models.weights import BLOCKS, HEADS, WIDTH

safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed: pip install -e '.[dev]'")
SIDE = 3  # patches
SIZE = WIDTH, BLOCKS


def slow(given, pictures, heads):
    """What the published code calculates, for one picture [h, w, 3] at a time, in float64."""
    width, side = given["norm.bias"].size, pictures.shape[1] // 14
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * given[f"{name}.weight"] + given[f"{name}.bias"]

    def linear(x, name):
        return x @ given[f"{name}.weight"].T + given[f"{name}.bias"]

    def one(picture):
        picture = (picture - mean) / deviation
        patches = [
            np.einsum(
                "hwc,dchw->d", picture[14 * i : 14 * i + 14, 14 * j : 14 * j + 14], given["patch_embed.proj.weight"]
            )
            for i in range(side)
            for j in range(side)
        ]
        x = np.concatenate([given["cls_token"][0], np.stack(patches) + given["patch_embed.proj.bias"]])
        square = given["pos_embed"][0, 1:].reshape(37, 37, width)
        x = x + np.concatenate([given["pos_embed"][0, :1], bicubic(square, side).reshape(-1, width)])
        for i in range(sum(name.endswith("ls1.gamma") for name in given)):
            place = f"blocks.{i}"
            seen = linear(norm(x, f"{place}.norm1"), f"{place}.attn.qkv").reshape(len(x), 3, heads, -1)
            found = np.zeros((len(x), heads, width // heads))
            for head in range(heads):
                query, key, value = seen[:, 0, head], seen[:, 1, head], seen[:, 2, head]
                found[:, head] = scipy.special.softmax(query @ key.T / np.sqrt(width // heads), -1) @ value
            x = x + given[f"{place}.ls1.gamma"] * linear(found.reshape(x.shape), f"{place}.attn.proj")
            y = linear(norm(x, f"{place}.norm2"), f"{place}.mlp.fc1")
            y = y * (1 + scipy.special.erf(y / np.sqrt(2))) / 2
            x = x + given[f"{place}.ls2.gamma"] * linear(y, f"{place}.mlp.fc2")
        return norm(x, "norm")

    found = np.stack([one(picture) for picture in pictures.astype(np.float64)])
    return found[:, 0], found[:, 1:]


def bicubic(square, side):
    """PyTorch's interpolate(scale_factor=(side + 0.1) / n, mode="bicubic"), place by place."""
    count, a = len(square), -0.75
    found = np.zeros((side, side, square.shape[-1]))

    def taps(i):
        at = (i + 0.5) / ((side + 0.1) / count) - 0.5
        low, t = int(np.floor(at)), at - np.floor(at)
        outer = lambda x: ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        inner = lambda x: ((a + 2) * x - (a + 3)) * x * x + 1
        shares = outer(t + 1), inner(t), inner(1 - t), outer(2 - t)
        return [(min(max(low + k, 0), count - 1), share) for k, share in zip((-1, 0, 1, 2), shares)]

    for i in range(side):
        for j in range(side):
            for h, one in taps(i):
                for w, other in taps(j):
                    found[i, j] += one * other * square[h, w]
    return found


def test_it_says_what_a_slow_one_says_whatever_its_tensors_are_called(tmp_path):
    given = weights.original()
    pictures = np.random.default_rng(1).uniform(0, 1, (2, 14 * SIDE, 14 * SIDE, 3)).astype(np.float32)
    named = {
        "original": given,
        "within": {f"backbone.{name}": value for name, value in given.items()},
        "hugging_face": weights.hugging_face(given),
        "prefixed": weights.hugging_face(given, "dinov2."),
    }
    read = [dinov2.read(weights.write(tmp_path / name, tensors), *SIZE, SIDE) for name, tensors in named.items()]
    for other in read[1:]:
        jax.tree.map(np.testing.assert_array_equal, read[0], other)
    forms = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), read[0])
    assert forms == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), dinov2.layout(*SIZE, SIDE))
    found = jax.jit(lambda params: dinov2.features(params, pictures, HEADS, jnp.dtype("float32")))(read[0])
    for one, other in zip(found, slow(given, pictures, HEADS)):
        np.testing.assert_allclose(one, other, atol=1e-4)
    half = dinov2.features(read[0], pictures, HEADS, jnp.dtype("bfloat16"))
    assert {part.dtype for part in half} == {jnp.dtype("float32")}
    np.testing.assert_allclose(half[0], found[0], atol=0.05)


def test_other_precisions_are_read_as_float32(tmp_path):
    given = weights.original()
    for dtype in (ml_dtypes.bfloat16, np.float16, np.float64):
        cast = {name: value.astype(dtype) for name, value in given.items()}
        found = dinov2.read(weights.write(tmp_path / "file", cast), *SIZE, SIDE)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype("float32")}
        np.testing.assert_array_equal(found["norm_bias"], cast["norm.bias"].astype(np.float32))


def test_resized_positions_give_each_place_a_share_of_one_and_fit_as_they_are():
    np.testing.assert_allclose(dinov2.cubic(37, 16).sum(1), 1, atol=1e-6)
    place = np.random.default_rng(0).normal(size=(1, 37**2, 2)).astype(np.float32)
    np.testing.assert_array_equal(dinov2.resized(place, 37), place)
    expected = bicubic(place.reshape(37, 37, 2), 16).reshape(1, -1, 2)
    np.testing.assert_allclose(dinov2.resized(place, 16), expected, atol=1e-5)


def test_vit_b_14_has_86_6_million_parameters():
    for way in (0, 1):
        parts = [shape for parts in dinov2.tensors(768, 12, way).values() for shape in parts.values()]
        assert sum(np.prod(shape) for shape in parts) == 86_579_712  # and 768 that stand for hidden patches
    leaves = jax.tree.leaves(dinov2.layout(768, 12, 37))
    assert sum(np.prod(leaf.shape) for leaf in leaves) == 86_579_712 - 768  # the first token's place is in the token


def refusal(path, size=SIZE):
    with pytest.raises(ValueError) as refused:
        dinov2.check(path, *size)
    return str(refused.value)


ACCEPTED = "accepted: a safetensors file of DINOv2's weights"
CHANGES = [  # of the tensors, and what is said of the file
    ({"norm.weight": None}, f"without the tensor norm.weight; {ACCEPTED}"),
    ({"cls_token": None}, f"without the tensor cls_token; {ACCEPTED}"),
    ({"blocks.1.ls1.gamma": None}, f"without the tensor blocks.1.ls1.gamma; {ACCEPTED}"),
    ({"norm.weight": np.zeros(20, np.float32)},
     "whose tensor norm.weight has the shape (20,); accepted, as config.model.width is 24: (24,)"),
    ({"pos_embed": np.zeros((1, 257, 24), np.float32)},
     "whose tensor pos_embed has the shape (1, 257, 24); accepted, as config.model.width is 24: (1, 1370, 24)"),
    ({"norm.weight": np.zeros(24, np.int8)},
     "whose tensor norm.weight is of I8; accepted: BF16 | F16 | F32 | F64"),
    ({"blocks.2.ls1.gamma": np.zeros(24, np.float32)},
     f"which has more blocks than config.model.blocks = 2; {ACCEPTED}, whole"),
    ({"register_tokens": np.zeros((1, 4, 24), np.float32)}, f"which has register tokens; {ACCEPTED} without"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "text"), CHANGES)
def test_a_file_that_does_not_fit_is_refused_in_a_line(tmp_path, monkeypatch, changes, text):
    tensors = {name: value for name, value in (weights.original() | changes).items() if value is not None}
    weights.write(tmp_path / "file", tensors)
    monkeypatch.chdir(tmp_path)
    assert refusal("file") == f"config.views.weights is 'file', {text}"


def test_what_is_no_such_file_is_refused_in_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = "config.views.weights is 'file', which is no whole safetensors file; " + ACCEPTED
    for place in ("file", "."):
        assert refusal(place) == f"config.views.weights is '{place}', where no file is; {ACCEPTED}"
    for content in (b"", b"no safetensors file, whatever its name says"):
        (tmp_path / "file").write_bytes(content)
        assert refusal("file") == whole
    weights.write(tmp_path / "file", {"a": np.zeros(9, np.float32)})
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:-1])
    assert refusal("file") == whole
    monkeypatch.setitem(sys.modules, "safetensors", None)
    told = "which the package safetensors reads: pip install 'hexjax[dinov2]'"
    assert refusal("file") == f"config.views.weights is 'file', {told}"
