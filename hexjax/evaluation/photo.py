"""Pictures of one's own, made like the views that a generator was trained with, and where they were taken from.

What is shown is told from its background by transparency, or by a background of one colour; it is put on black, and as
large in its picture as a shape's views show it.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage
import skimage.morphology
import skimage.transform
from jaxtyping import Bool, UInt8
from PIL import Image

from hexjax import names, progress
from hexjax.data import fields, views
from hexjax.geometry import camera
from hexjax.types import Array, Item

FILLED = 0.8  # of a picture's half side: the farthest that what is shown reaches from its middle
PLAIN = 0.08  # of full brightness: how far a background of one colour may be from it
PLAIN_SHARE = 0.95  # of the picture's edge that must be as near to it
LEAST = 0.005  # of a picture: what is shown covers more
SMALL = 0.002  # of a picture: smaller holes are highlights of the background's colour
MOST = 8  # pictures


class Told(NamedTuple):
    """What a draw is told: pictures [k, h, w, c], poses [k, 64], and a line for each of where it is taken from."""

    views: UInt8[np.ndarray, "k h w c"]
    pose: Array
    lines: tuple[str, ...]


def read(path: str, settings: Any) -> UInt8[np.ndarray, "h w 3"]:
    """The picture of a file as a view: on black, square, `settings.resolution_px` a side.

    Raises:
        ValueError: in one line, for a file that is no picture, or whose background is neither transparent nor plain.
    """
    place = names.expand(path)
    told = f"config.sample.image is {names.shown(path)}"
    if not place.is_file():
        raise ValueError(f"{told}: no such file; accepted: a picture, or several with commas between")
    try:
        with Image.open(place) as opened:
            picture = np.asarray(opened.convert("RGBA") if opened.mode in ("P", "PA") else opened)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{told}, which is no picture that can be read; accepted: PNG, JPEG and the like") from error
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or min(picture.shape[:2]) < 8:
        shape = " x ".join(map(str, picture.shape))
        raise ValueError(f"{told}, of {shape} {picture.dtype}; accepted: grey or colours of 8 bits, at least 8 x 8")
    picture = picture[..., None] if picture.ndim == 2 else picture
    colour = np.broadcast_to(picture[..., :1], (*picture.shape[:2], 3)) if picture.shape[2] < 3 else picture[..., :3]
    mask = shown(colour, picture[..., -1] if picture.shape[2] in (2, 4) else None)
    if mask is None:
        raise ValueError(f"{told}: its background is neither transparent nor of one colour; accepted: one that is")
    if not LEAST < mask.mean() < 1:
        raise ValueError(f"{told}: {mask.mean():.1%} of it is not background; accepted: {LEAST:.1%} to all but some")
    return framed(colour, mask, settings.resolution_px)


def shown(colour: UInt8[np.ndarray, "h w 3"], alpha: UInt8[np.ndarray, "h w"] | None) -> Bool[np.ndarray, "h w"] | None:
    """Where something is shown; None where the background cannot be told."""
    if alpha is not None and alpha.min() < 128 <= alpha.max():
        return alpha >= 128
    edge = np.concatenate([colour[0], colour[-1], colour[:, 0], colour[:, -1]]).astype(np.float64)
    middle, limit = np.median(edge, axis=0), 255 * PLAIN
    if (np.abs(edge - middle).max(1) <= limit).mean() < PLAIN_SHARE:
        return None
    mask = np.abs(colour - middle).max(-1) > limit
    return skimage.morphology.remove_small_holes(mask, max_size=int(SMALL * mask.size))


def framed(
    colour: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], resolution: int
) -> UInt8[np.ndarray, "r r 3"]:
    """What is shown on black, its box in the middle of a square, FILLED of whose half its farthest point is away."""
    row, column = np.nonzero(mask)
    middle = np.array([row.min() + row.max(), column.min() + column.max()]) / 2
    reach = np.hypot(row - middle[0], column - middle[1]).max() + 0.5
    step = 2 * reach / FILLED / resolution  # pixels of the picture to one of the view
    corner = middle - step * (resolution - 1) / 2
    way = skimage.transform.AffineTransform(matrix=[[step, 0, corner[1]], [0, step, corner[0]], [0, 0, 1]])
    black = np.where(mask[..., None], colour, 0) / 255
    smooth = scipy.ndimage.gaussian_filter(black, (max(step - 1, 0) / 2,) * 2 + (0,))  # or thin parts are lost
    found = skimage.transform.warp(smooth, way, output_shape=(resolution, resolution), order=1, cval=0)
    return np.round(255 * np.clip(found, 0, 1)).astype(np.uint8)


def tell(config: Any, items: Sequence[Item], look: fields.Look) -> Told:
    """What the pictures of `config.sample` tell a draw; a pose that is not given is that of the known view most like it.

    Args:
        items: shapes whose views are known; look: what the run that reads pictures says of them.

    Raises:
        ValueError: for other channels than a photo has, too many pictures, or as many angles as not pictures.
    """
    given = config.sample.image.split(",")
    if config.views.channels != "shaded":
        raise ValueError(f"config.views.channels is {config.views.channels}; accepted with sample.image: shaded")
    if len(given) > MOST:
        raise ValueError(f"config.sample.image names {len(given)} pictures; accepted: at most {MOST}")
    angles = [tuple(config.sample.azimuth), tuple(config.sample.elevation)]
    for name, values in zip(("azimuth", "elevation"), angles):
        if len(values) not in (0, len(given)) or bool(values) != bool(angles[0]):
            raise ValueError(
                f"config.sample.{name} has {len(values)} numbers; accepted: one for each of {len(given)} pictures, of both "
                "angles, or none"
            )
    shown = np.stack([read(path, config.views) for path in given])
    if angles[0]:
        return Told(shown, camera.pose(*map(np.float32, angles)), tuple(f"{name}: as given" for name in given))
    known = [_known(item, config, look) for item in _progress(items)]
    bank = _unit(np.stack(known).mean(2))  # [i, k, c]
    azimuth, elevation = views.angles(config.views.count)
    found, lines = [], []
    for name, feature in zip(given, _unit(np.asarray(look.ask(shown)).mean(1))):
        best = np.unravel_index((bank @ feature).argmax(), bank.shape[:2])
        found.append(best[1])
        turn, rise = azimuth[best[1]], elevation[best[1]]
        lines.append(
            f"{pathlib.PurePath(name).name}: taken from azimuth {turn:.2f} and elevation {rise:.2f}, as the view of "
            f"{items[best[0]].name} that is most like it (cosine {(bank @ feature).max():.3f})"
        )
    return Told(shown, camera.pose(azimuth[found], elevation[found]), tuple(lines))


def _known(item: Item, config: Any, look: fields.Look) -> np.ndarray:
    """Features [k, n, c] of the views of a shape that are trained with."""
    return fields.make(item, ("views", "condition"), config, config.seed, whole=True, look=look)["condition"]


def _progress(items: Sequence[Item]) -> Any:
    with progress.Line(len(items), "shapes' views read") as line:
        for number, item in enumerate(items, 1):
            yield item
            line.update(number)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
