"""hexjax: triangle meshes into compact learned latents and back, in pure JAX.

The short public interface, loaded on first use so that a refused command line never loads JAX:

    mesh = hexjax.load("head.obj")
    framed, similarity = hexjax.normalise(mesh)
    hexplane = hexjax.render(framed, resolution=512)
    surface = hexjax.extract(hexplane, grid=256)
    numbers = hexjax.score(surface, framed)
    model = hexjax.restore("results/001-ae_continuous")
"""

import importlib
from typing import Any

_PLACES = {
    "load": "hexjax.data.meshfile",
    "normalise": "hexjax.geometry.mesh",
    "render": "hexjax.geometry.hexplane",
    "extract": "hexjax.pipeline",
    "score": "hexjax.pipeline",
    "restore": "hexjax.evaluation.restore",
    "Mesh": "hexjax.types",
    "Hexplane": "hexjax.types",
    "Latent": "hexjax.types",
    "Similarity": "hexjax.types",
}
_RENAMED = {"score": "score_meshes"}

__all__ = sorted(_PLACES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hexjax' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(importlib.import_module(_PLACES[name]), _RENAMED.get(name, name))


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
