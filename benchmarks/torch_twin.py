"""The peer of train_step: the network, the loss and Adam of hexplane_ae (depth and normals, deterministic) in PyTorch.

Channels last throughout: linear layers see [..., c] and convolutions the same memory as NCHW. What XLA fuses is left to
`torch.compile`. Parameters come from ours (`copy`), so that both compute the same function.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Convolution(nn.Conv2d):
    """A 3 x 3 convolution of images [b, h, w, c]."""

    def __init__(self, width: int):
        super().__init__(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ResidualConvolution(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.first, self.second = Convolution(width), Convolution(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(functional.silu(self.first(self.norm(x))))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.RMSNorm(width, eps=1e-6) for _ in range(2)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(*qkv)
        x = x + self.out(y.transpose(1, 2).flatten(-2))
        return x + self.down(functional.gelu(self.up(self.norms[1](x)), approximate="tanh"))


class Mixer(nn.Module):
    def __init__(self, channels: int, side: int, patch: int, width: int, blocks: int, heads: int):
        super().__init__()
        self.patch = patch
        self.enter, self.leave = nn.Linear(patch**2 * channels, width), nn.Linear(width, patch**2 * channels)
        self.place = nn.Parameter(torch.zeros(6, side, side, width))
        self.blocks = nn.ModuleList([Attention(width, heads) for _ in range(blocks)])
        self.norm = nn.RMSNorm(width, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.enter(space_to_depth(x, self.patch)).unflatten(0, (-1, 6)) + self.place
        tokens = y.flatten(1, 3)
        for block in self.blocks:
            tokens = block(tokens)
        y = self.norm(tokens).view(y.shape).flatten(0, 1)
        return x + depth_to_space(self.leave(y), self.patch)


class Encoder(nn.Module):
    def __init__(self, shape: Mapping[str, Any]):
        super().__init__()
        self.stem, widths = shape["stem"], shape["widths"]
        inputs = [4 * self.stem**2] + [4 * width for width in widths[:-1]]
        self.down = nn.ModuleList([nn.Linear(a, b) for a, b in zip(inputs, widths)])
        self.levels = nn.ModuleList([levels(width, shape["depth"]) for width in widths])
        self.mixer = Mixer(widths[-1], **shape["mixer"])
        self.out = nn.Linear(widths[-1], shape["latent"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, (down, level) in enumerate(zip(self.down, self.levels)):
            x = level(down(space_to_depth(x, 2 if number else self.stem)))
        return self.out(self.mixer(x)).float()


class Decoder(nn.Module):
    def __init__(self, shape: Mapping[str, Any]):
        super().__init__()
        self.stem, widths = shape["stem"], shape["widths"]
        self.enter = nn.Linear(shape["latent"], widths[-1])
        self.mixer = Mixer(widths[-1], **shape["mixer"])
        self.levels = nn.ModuleList([levels(width, shape["depth"]) for width in widths[::-1]])
        self.up = nn.ModuleList([nn.Linear(a, 4 * b) for a, b in zip(widths[:0:-1], widths[-2::-1])])
        self.norm, self.out = nn.RMSNorm(widths[0], eps=1e-6), nn.Linear(widths[0], 5 * self.stem**2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.levels[0](self.mixer(self.enter(x)))
        for up, level in zip(self.up, self.levels[1:]):
            x = level(depth_to_space(up(x), 2))
        return depth_to_space(self.out(self.norm(x)), self.stem).float()


class Autoencoder(nn.Module):
    """The loss of a batch of maps, as our family's without the signed-distance term.

    Args:
        shape: stem, widths, depth, latent, and the mixer's side, patch, width, blocks and heads.
        weights: of the depth's and the normals' error.
        axes: [v, 3 view axes, 3 world axes]; opposite: pairs of views and the image axis that they are mirrored in.
    """

    def __init__(self, shape: Mapping[str, Any], weights: tuple[float, float], axes: np.ndarray, opposite: tuple):
        super().__init__()
        self.encoder, self.decoder = Encoder(shape), Decoder(shape)
        self.weights, self.opposite = weights, opposite
        self.register_buffer("axes", torch.tensor(axes), persistent=False)

    def forward(self, depth: torch.Tensor, normal: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The loss, and the decoder's raw maps [b, v, h, w, 5]."""
        depth = torch.where(mask, depth, 2.0)[..., None] - 1
        with torch.autocast(depth.device.type, enabled=False):
            normal = torch.einsum("bvhwc,vkc->bvhwk", normal, self.axes)
        x = torch.cat([depth, normal], -1)
        raw = self.decoder(self.encoder(x.flatten(0, 1))).unflatten(0, (-1, 6))
        return self.loss(raw, x, mask.float()), raw

    def loss(self, raw: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        views: list[Any] = [None] * 6
        for view, opposite, mirrored in self.opposite:
            mean = (raw[:, view, ..., 0] + raw[:, opposite, ..., 0].flip(mirrored + 1)) / 2
            views[view], views[opposite] = mean, mean.flip(mirrored + 1)
        logits, area = torch.stack(views, 1), mask.mean().clamp(min=1e-6)
        entropy = (functional.softplus(logits) - logits * mask).mean()
        depth = ((raw[..., 1] - truth[..., 0]).abs() * mask).mean() / area
        normal = (((raw[..., 2:] - truth[..., 1:]) ** 2).sum(-1) * mask).mean() / (2 * area)
        return entropy + self.weights[0] * depth + self.weights[1] * normal


def make(config: Any) -> Autoencoder:
    """The twin of our family for a config."""
    from hexjax.geometry import frame, planes

    model, terms = config.model, config.reconstruction
    scaled = lambda width: max(round(width * model.width_scale / model.mixer_heads), 1) * model.mixer_heads
    mixer = dict(side=model.mixer_side, patch=config.latent.side // model.mixer_side, width=scaled(model.mixer_width))
    mixer |= dict(blocks=model.mixer_blocks, heads=model.mixer_heads)
    shape = dict(stem=model.stem_px, widths=tuple(scaled(width) for width in model.widths), depth=model.blocks)
    shape |= dict(latent=config.latent.channels, mixer=mixer)
    return Autoencoder(shape, (terms.depth_weight, terms.normal_weight), planes.AXES, frame.OPPOSITE)


def levels(width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*[ResidualConvolution(width) for _ in range(depth)])


def space_to_depth(x: torch.Tensor, side: int) -> torch.Tensor:
    return x.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3).flatten(3)


def depth_to_space(x: torch.Tensor, side: int) -> torch.Tensor:
    return x.unflatten(-1, (side, side, -1)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


def copy(model: Autoencoder, params: Mapping[str, Any]) -> None:
    """Nothing; the model's parameters become those of our family.

    Raises:
        RuntimeError: where a shape or a name has no counterpart.
    """
    found: dict[str, np.ndarray] = {}
    for side in ("encoder", "decoder"):
        tree = params[side]["params"]
        dense = [tree[name] for name in sorted((n for n in tree if n.startswith("Dense")), key=_number)]
        blocks = [tree[name] for name in sorted((n for n in tree if n.startswith("Residual")), key=_number)]
        count = len(getattr(model, side).levels)
        inner = "down" if side == "encoder" else "up"
        ends = (dense[:count], dense[count:], "out") if side == "encoder" else (dense[1:count], dense[:1], "enter")
        for number, layer in enumerate(ends[0]):
            _linear(found, f"{side}.{inner}.{number}", layer)
        _linear(found, f"{side}.{ends[2]}", ends[1][0])
        if side == "decoder":
            _linear(found, "decoder.out", dense[-1])
            found["decoder.norm.weight"] = tree["RMSNorm_0"]["scale"]
        for number, block in enumerate(blocks):
            place = f"{side}.levels.{number * count // len(blocks)}.{number % (len(blocks) // count)}"
            found[f"{place}.norm.weight"] = block["RMSNorm_0"]["scale"]
            for name, layer in (("first", block["Conv_0"]), ("second", block["Conv_1"])):
                found[f"{place}.{name}.weight"] = np.transpose(layer["kernel"], (3, 2, 0, 1))
                found[f"{place}.{name}.bias"] = layer["bias"]
        _mixer(found, f"{side}.mixer", tree["Mixer_0"])
    state = {name: torch.tensor(np.array(value)) for name, value in found.items()}
    model.load_state_dict(state)


def _number(name: str) -> int:
    return int(name.rsplit("_", 1)[1])


def _linear(found: dict[str, np.ndarray], place: str, layer: Mapping[str, Any]) -> None:
    found[f"{place}.weight"], found[f"{place}.bias"] = np.transpose(layer["kernel"]), layer["bias"]


def _mixer(found: dict[str, np.ndarray], place: str, tree: Mapping[str, Any]) -> None:
    _linear(found, f"{place}.enter", tree["Dense_0"])
    _linear(found, f"{place}.leave", tree["Dense_1"])
    found[f"{place}.place"], found[f"{place}.norm.weight"] = tree["place"], tree["RMSNorm_0"]["scale"]
    for number in range(sum(name.startswith("Attention") for name in tree)):
        copy_attention(found, f"{place}.blocks.{number}", tree[f"Attention_{number}"])


def copy_attention(found: dict[str, np.ndarray], place: str, block: Mapping[str, Any]) -> None:
    """Nothing; the parameters of one of our blocks of attention are put under the names of `Attention` at a place."""
    attention, width = block["MultiHeadDotProductAttention_0"], len(block["RMSNorm_0"]["scale"])
    parts = [attention[name] for name in ("query", "key", "value")]
    kernel = np.concatenate([np.reshape(part["kernel"], (width, width)) for part in parts], 1)
    _linear(found, f"{place}.qkv", {"kernel": kernel, "bias": np.concatenate([p["bias"].ravel() for p in parts])})
    out = attention["out"]
    _linear(found, f"{place}.out", {"kernel": np.reshape(out["kernel"], (width, width)), "bias": out["bias"]})
    _linear(found, f"{place}.up", block["Dense_0"])
    _linear(found, f"{place}.down", block["Dense_1"])
    for norm in range(2):
        found[f"{place}.norms.{norm}.weight"] = block[f"RMSNorm_{norm}"]["scale"]
