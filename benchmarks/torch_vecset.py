"""The peer of vecset: farthest points, both networks, the loss and the field of our sets of vectors in PyTorch.

With farthest points as queries, deterministic, of truncated distances in absolute error: what `:small` is. Parameters come
from ours (`copy`), so that both compute the same function. Attention is PyTorch's own; what XLA fuses is left to
`torch.compile`, which runs the picking of points as it is: unrolled, its many small steps take minutes to compile.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import torch_decoder, torch_twin

ONLY = {
    "model.queries": "fps", "model.salient": 0.0, "model.target": "truncated", "model.error": "l1",
    "model.eikonal_weight": 0.0, "latent.kind": "deterministic",
}  # fmt: skip
Keys = tuple[torch.Tensor, torch.Tensor]  # and values, [b, heads, t, h] each


@torch.compiler.disable
@torch.no_grad()
def farthest(points: torch.Tensor, count: int) -> torch.Tensor:
    """The places [b, count] of points [b, p, 3], each the farthest from those before, the first from the mean."""
    axes, rows = points.transpose(1, 2).contiguous(), torch.arange(len(points), device=points.device)
    squared = lambda place: (axes - place[..., None]).square().sum(1)
    reach, place, found = torch.full_like(axes[:, 0], math.inf), squared(axes.mean(2)).argmax(1), []
    for _ in range(count):
        found.append(place)
        reach = torch.minimum(reach, squared(points[rows, place]))
        place = reach.argmax(1)
    return torch.stack(found, 1)


class Cross(nn.Module):
    """Queries that look at a set, and a perceptron of `expansion` widths; both are added to the queries."""

    def __init__(self, width: int, heads: int, expansion: int):
        super().__init__()
        self.heads = heads
        self.query_norm, self.set_norm, self.hidden_norm = (nn.RMSNorm(width, eps=1e-6) for _ in range(3))
        self.query, self.pair = nn.Linear(width, width, bias=False), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.hidden, self.back = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)

    def keys(self, given: torch.Tensor) -> Keys:
        return tuple(self._split(part) for part in self.pair(self.set_norm(given)).chunk(2, -1))

    def ask(self, queries: torch.Tensor, keys: Keys) -> torch.Tensor:
        found = functional.scaled_dot_product_attention(self._split(self.query(self.query_norm(queries))), *keys)
        queries = queries + self.out(found.transpose(1, 2).flatten(2))
        return queries + self.back(functional.gelu(self.hidden(self.hidden_norm(queries)), approximate="tanh"))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Ends(nn.Module):
    """What both networks have: the embedding of places, one look at a set, layers, and the output."""

    def __init__(self, outputs: int, layers: int, shape: Mapping[str, int]):
        super().__init__()
        width = shape["width"]
        self.place = nn.Linear(3 + 6 * shape["bands"], width)
        self.cross = Cross(width, shape["cross_heads"], shape["expansion"])
        self.layers = nn.Sequential(*[torch_twin.Attention(width, shape["heads"]) for _ in range(layers)])
        self.norm, self.out = nn.RMSNorm(width, eps=1e-6), nn.Linear(width, outputs)
        self.register_buffer("turns", math.pi * 2.0 ** torch.arange(shape["bands"]), persistent=False)

    def embed(self, points: torch.Tensor) -> torch.Tensor:
        return self.place(torch_decoder.features(points, self.turns))


class Encoder(Ends):
    """Points [b, p, 3] to a latent [b, t, d]."""

    def __init__(self, tokens: int, *given: Any):
        super().__init__(*given)
        self.tokens = tokens

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(points), device=points.device)[:, None]
        queries = self.embed(points[rows, farthest(points, self.tokens)])
        x = self.layers(self.cross.ask(queries, self.cross.keys(self.embed(points))))
        return self.out(self.norm(x)).float()


class Decoder(Ends):
    """Points [b, p, 3] and the keys of a latent to one number each [b, p]."""

    def __init__(self, channels: int, *given: Any):
        super().__init__(*given)
        self.up = nn.Linear(channels, self.place.out_features)

    def keys(self, code: torch.Tensor) -> Keys:
        return self.cross.keys(self.layers(self.up(code)))

    def forward(self, points: torch.Tensor, keys: Keys) -> torch.Tensor:
        return self.out(self.norm(self.cross.ask(self.embed(points), keys)))[..., 0].float()


class SetAutoencoder(nn.Module):
    """The loss of a batch, and the signed distances [b, p] that it is of.

    Args:
        truncation: world units, of the targets and of what the decoder says.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, truncation: float):
        super().__init__()
        self.encoder, self.decoder, self.truncation = encoder, decoder, truncation

    def outputs(self, surface: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The latent, and what the decoder says at points, in truncations."""
        code = self.encoder(surface)
        return code, self.decoder(points, self.decoder.keys(code))

    def forward(
        self, surface: torch.Tensor, points: torch.Tensor, distance: torch.Tensor, sure: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.outputs(surface, points)[1]
        off = (found - (distance / self.truncation).clamp(-1, 1)).abs()
        return (off * sure).sum() / sure.sum().clamp(min=1), self.truncation * found


def make(config: Any) -> SetAutoencoder:
    """The twin of our family for a config.

    Raises:
        ValueError: for a key whose value it has no counterpart of.
    """
    for key, value in ONLY.items():
        section, _, name = key.partition(".")
        if (got := config[section][name]) != value:
            raise ValueError(f"config.{key} is {got!r}; accepted by the network in PyTorch: {value!r}")
    model, latent = config.model, config.latent
    shape = {name: model[name] for name in ("width", "heads", "cross_heads", "bands", "expansion")}
    encoder = Encoder(latent.tokens, latent.channels, model.encoder_layers, shape)
    return SetAutoencoder(encoder, Decoder(latent.channels, 1, model.decoder_layers, shape), model.truncation)


def copy(model: SetAutoencoder, params: Mapping[str, Any]) -> None:
    """Nothing; the model's parameters become those of our family.

    Raises:
        RuntimeError: where a shape or a name has no counterpart.
    """
    found: dict[str, np.ndarray] = {}
    for side in ("encoder", "decoder"):
        for name, layer in params[side]["params"].items():
            if name.startswith("layers_"):
                torch_twin.copy_attention(found, f"{side}.{name.replace('_', '.')}", layer)
            elif name == "cross":
                for inner, part in layer.items():
                    _layer(found, f"{side}.cross.{inner}", part)
            else:
                _layer(found, f"{side}.{name}", layer)
    model.load_state_dict({name: torch.tensor(np.array(value)) for name, value in found.items()})


def _layer(found: dict[str, np.ndarray], place: str, layer: Mapping[str, Any]) -> None:
    found[f"{place}.weight"] = layer["scale"] if "scale" in layer else np.transpose(layer["kernel"])
    if "bias" in layer:
        found[f"{place}.bias"] = layer["bias"]
