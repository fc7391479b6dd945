"""Pictures of one's own: told from their background, framed as views are, or refused in a line."""

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from configs import base
from hexjax.data import fields, views
from hexjax.evaluation import photo
from tests import shapes, toys


def settings_of(**more):
    config = base.get_config()
    config.views.update({"count": 6, "held": 2, "resolution_px": 56})
    config.update_from_flattened_dict(more)
    return config


def save(folder, picture, name="picture.png"):
    Image.fromarray(picture).save(folder / name)
    return str(folder / name)


@pytest.fixture(scope="module")
def torus():
    """A view of a torus, larger than a view, and where it is."""
    settings = base.get_config().views
    settings.resolution_px = 160
    view = views.look(shapes.torus(), np.float32([0.4]), np.float32([0.9]), settings)[0]
    return view, view.sum(-1) > 0


def test_a_plain_and_a_transparent_background_give_the_same_picture_with_the_hole_in_it(tmp_path, torus):
    view, mask = torus
    plain = np.where(mask[..., None], view, np.uint8([20, 90, 40]))
    clear = np.concatenate([plain, 255 * mask[..., None].astype(np.uint8)], -1)
    found = [photo.read(save(tmp_path, each), settings_of().views).astype(int) for each in (plain, clear)]
    assert found[0].shape == (56, 56, 3)
    assert np.abs(found[0] - found[1]).mean() < 1.5
    there = found[1].max(-1) > 40
    hole = scipy.ndimage.binary_fill_holes(there) & ~there
    assert hole.sum() > 40
    assert (found[1][:2] == 0).all()
    assert (found[1].max(-1) > 60).mean() > 0.2


@pytest.mark.parametrize(("turn", "grown"), [(0, 1), (30, 2)])
def test_what_is_shown_stands_in_the_middle_and_reaches_as_far_as_told(tmp_path, torus, turn, grown):
    view, mask = torus
    wide = np.full((400, 300, 4), 255, np.uint8)
    wide[..., 3] = 0
    part = np.concatenate([view, 255 * mask[..., None].astype(np.uint8)], -1)[::grown, ::grown]
    wide[turn : turn + len(part), 2 * turn : 2 * turn + len(part)] = part
    found = photo.read(save(tmp_path, wide), settings_of().views)
    row, column = np.nonzero(found.max(-1) > 40)
    assert abs(row.min() + row.max() - 55) <= 2
    assert abs(column.min() + column.max() - 55) <= 2
    reach = np.hypot(row - 27.5, column - 27.5).max()
    assert abs(reach - 28 * photo.FILLED) < 2


def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)


REFUSED = [
    (noise(), "its background is neither transparent nor of one colour; accepted: one that is"),
    (np.full((40, 40, 3), 90, np.uint8), "0.0% of it is not background; accepted: 0.5% to all but some"),
    (noise()[:4], "accepted: grey or colours of 8 bits, at least 8 x 8"),
    (noise()[..., 0].astype(np.uint16), "accepted: grey or colours of 8 bits, at least 8 x 8"),
]


@pytest.mark.parametrize(("picture", "text"), REFUSED)
def test_what_cannot_be_read_is_refused_in_a_line(tmp_path, picture, text):
    with pytest.raises(ValueError) as refused:
        photo.read(save(tmp_path, picture), settings_of().views)
    assert str(refused.value).endswith(text)
    assert str(refused.value).startswith("config.sample.image is '")
    assert "\n" not in str(refused.value)


def test_files_that_are_no_pictures_are_refused(tmp_path):
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(
        ValueError, match=r"no.png', which is no picture that can be read; accepted: PNG, JPEG and the like$"
    ):
        photo.read(str(tmp_path / "no.png"), settings_of().views)
    with pytest.raises(
        ValueError, match=r"none.png': no such file; accepted: a picture, or several with commas between$"
    ):
        photo.read(str(tmp_path / "none.png"), settings_of().views)


def look():
    """Features that are the mean colours of a picture's quarters."""
    ask = lambda views: (
        np.asarray(views, np.float32).reshape(len(views), 2, 28, 2, 28, 3).mean((2, 4)).reshape(len(views), 1, 12)
    )
    return fields.Look(ask, (1, 12), "quarters")


def test_a_pose_that_is_not_given_is_that_of_the_known_view_most_like_it(tmp_path):
    config = settings_of()
    item = toys.item_of(shapes.torus(), "ring")
    known = fields.make(item, ("views", "pose"), config, 0)
    view = known["views"][2]
    clear = np.concatenate([view, 255 * (view.sum(-1, keepdims=True) > 0).astype(np.uint8)], -1)
    config.sample.image = save(tmp_path, clear)
    found = photo.tell(config, [item], look())
    azimuth, elevation = views.angles(6)
    assert found.views.shape == (1, 56, 56, 3)
    assert any(np.allclose(found.pose[0], known["pose"][place]) for place in range(4))  # of those that are trained with
    assert "picture.png: taken from azimuth" in found.lines[0]
    assert "as the view of ring that is most like it" in found.lines[0]
    config.sample.azimuth, config.sample.elevation = (float(azimuth[1]),), (float(elevation[1]),)
    np.testing.assert_allclose(photo.tell(config, [item], look()).pose, known["pose"][1:2], atol=1e-5)


def test_angles_and_channels_that_do_not_fit_are_refused(tmp_path, torus):
    view, mask = torus
    place = save(tmp_path, np.concatenate([view, 255 * mask[..., None].astype(np.uint8)], -1))
    cases = [
        ({"sample.azimuth": (0.1, 0.2), "sample.elevation": (0.1,)},
         "config.sample.azimuth has 2 numbers; accepted: one for each of 1 pictures, of both angles, or none"),
        ({"sample.azimuth": (0.1,)},
         "config.sample.elevation has 0 numbers; accepted: one for each of 1 pictures, of both angles, or none"),
        ({"views.channels": "depth"}, "config.views.channels is depth; accepted with sample.image: shaded"),
        ({"sample.image": ",".join([place] * 9)}, "config.sample.image names 9 pictures; accepted: at most 8"),
    ]  # fmt: skip
    for more, text in cases:
        config = settings_of(**({"sample.image": place} | more))
        with pytest.raises(ValueError) as refused:
            photo.tell(config, [], look())
        assert str(refused.value) == text
