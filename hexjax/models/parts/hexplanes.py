"""What families share that decode planes of six maps: their surface, and what diagnostics ask of planes."""

from typing import Any

from hexjax.geometry import planes
from hexjax.models.parts import losses
from hexjax.types import Batch, Hexplane


def surface(kind: str, threshold: float) -> dict[str, Any]:
    """The fields `field`, `grid` and `ideal` of a Family whose decoder gives the maps (or the grid) of a kind of planes."""

    def ideal(batch: Batch) -> Any:
        if kind == "voxels":
            return batch["voxels"].astype("float32")
        full = Hexplane(*(batch.get(name) for name in Hexplane._fields))
        if kind in ("continuous", "binary"):
            return full
        return planes.to_maps(planes.planes(batch, kind), kind)

    return dict(
        field=lambda params, decoded, points: planes.fuse(decoded, points, kind, threshold),
        grid=lambda params, decoded, count: planes.grid(decoded, count, kind, threshold),
        ideal=ideal,
    )


def judged(kind: str, likelihood: str | None, scale: float = 1.0) -> dict[str, Any]:
    """The fields of a Probe that planes and their likelihood decide; None is for values given back as they are."""
    return dict(
        observe=lambda batch: planes.planes(batch, kind),
        coverage=lambda x: planes.coverage(x, kind),
        scale=scale,
        **losses.probe(likelihood),
    )
