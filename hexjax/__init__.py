"""hexjax: triangle meshes into compact learned latents and back, in pure JAX.

The short public interface, loaded on first use so that a refused command line never loads JAX:

    mesh = hexjax.load("head.obj")  # or a trimesh object, or (vertices, faces): every function takes all of them
    framed, similarity = hexjax.normalise(mesh)
    hexplane = hexjax.render(framed, resolution=512)
    surface = hexjax.to_source(hexjax.extract(hexplane, grid=256), similarity)
    numbers = hexjax.score(surface, mesh)
    model = hexjax.restore("results/001-ae_continuous")
    again = model.mesh(model.encode(mesh), similarity)
"""

import importlib
from typing import Any

_FUNCTIONS = ("extract", "load", "normalise", "render", "score", "to_source")
_TYPES = ("Hexplane", "Latent", "Mesh", "Similarity")
_PLACES = {"restore": "hexjax.evaluation.restore"}
_PLACES |= dict.fromkeys(_FUNCTIONS, "hexjax.api") | dict.fromkeys(_TYPES, "hexjax.types")

__all__ = sorted(_PLACES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hexjax' has no attribute {name!r}; it has: {', '.join(__all__)}")
    if name not in _TYPES:
        importlib.import_module("hexjax.api").keep_programs()
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
