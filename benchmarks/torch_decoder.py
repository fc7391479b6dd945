"""The peer of auto_decoder: the codes, the network, the loss and the field of deepsdf in PyTorch (relu_pe, deterministic).

Parameters come from ours (`copy`), so that both compute the same function. The code's part of a layer is computed once a
shape, as ours is. What XLA fuses is left to `torch.compile`.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


def features(points: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Places [..., 3], then their sines and cosines at so many turns: [..., 3 + 6 bands]."""
    angles = (points[..., None, :] * turns[:, None]).flatten(-2)
    return torch.cat([points, angles.sin(), angles.cos()], -1)


class Decoder(nn.Module):
    """Signed distances [b, p] at points [b, p, 3] of shapes with codes [b, d]."""

    def __init__(self, width: int, depth: int, bands: int, channels: int):
        super().__init__()
        places = 3 + 6 * bands
        self.again = depth // 2
        inputs = [places] + [width + places * (i == self.again) for i in range(1, depth)]
        self.layers = nn.ModuleList([nn.Linear(count, width) for count in inputs])
        self.codes = nn.ModuleList([nn.Linear(channels, width, bias=False) for _ in range(2)])
        self.out = nn.Linear(width, 1)
        self.register_buffer("turns", math.pi * 2.0 ** torch.arange(bands), persistent=False)

    def forward(self, code: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        x = features(points, self.turns)
        given = [layer(code)[:, None] for layer in self.codes]
        h = torch.relu(self.layers[0](x) + given[0])
        for i, layer in enumerate(self.layers[1:], 1):
            h = torch.relu(layer(torch.cat([h, x], -1)) + given[1] if i == self.again else layer(h))
        return self.out(h)[..., 0].float()


class AutoDecoder(nn.Module):
    """The loss of a batch, and the signed distances that it is of.

    Args:
        weight: of the squared norm of the codes; clamp: of both distances.
    """

    def __init__(self, decoder: Decoder, shapes: int, channels: int, weight: float, clamp: float):
        super().__init__()
        self.codes, self.decoder = nn.Parameter(torch.zeros(shapes, channels)), decoder
        self.weight, self.clamp = weight, clamp

    def forward(self, item: torch.Tensor, points: torch.Tensor, distance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        code = self.codes[item]
        found = self.decoder(code, points)
        cut = lambda value: value.clamp(-self.clamp, self.clamp)
        fit = (cut(found) - cut(distance)).abs().mean()
        return fit + self.weight * code.square().sum(-1).mean(), found


def make(config: Any, shapes: int) -> AutoDecoder:
    """The twin of our family for a config and so many shapes."""
    from hexjax.geometry import frame

    model, channels = config.model, config.latent.channels
    decoder = Decoder(model.width, model.depth, model.bands, channels)
    return AutoDecoder(decoder, shapes, channels, config.code.weight, frame.CLAMP)


def copy(model: AutoDecoder, params: Mapping[str, Any]) -> None:
    """Nothing; the model's parameters become those of our family.

    Raises:
        RuntimeError: where a shape or a name has no counterpart.
    """
    state = {"codes": params["codes"]}
    for name, layer in params["decoder"]["params"].items():
        place = f"decoder.{'.'.join(name.split('_'))}"
        state[f"{place}.weight"] = np.transpose(layer["kernel"])
        if "bias" in layer:
            state[f"{place}.bias"] = layer["bias"]
    model.load_state_dict({name: torch.tensor(np.array(value)) for name, value in state.items()})
