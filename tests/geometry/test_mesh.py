import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.geometry import mesh as meshes
from hexjax.types import Mesh
from tests import shapes


def box(mesh):
    used = np.asarray(mesh.vertices)[np.unique(mesh.faces)]
    return used.min(0), used.max(0)


@pytest.mark.parametrize("up", ["y", "z"])
@pytest.mark.parametrize("unit", [1e-4, 1.0, 3e5])
def test_normalise_centres_and_fits_without_deforming(up, unit):
    source = shapes.torus()
    moved = source._replace(vertices=(source.vertices * unit + unit * np.array([3, -2, 7])).astype(np.float32))
    framed, similarity = meshes.normalise(moved, up)
    low, high = box(framed)
    np.testing.assert_allclose(low + high, 0, atol=1e-6)
    assert (high - low).max() == pytest.approx(1.9, abs=1e-5)
    ratio = meshes.face_areas(framed) / meshes.face_areas(moved)
    np.testing.assert_allclose(ratio, float(similarity.scale) ** 2, rtol=2e-2)
    back = meshes.to_source(framed, similarity)
    np.testing.assert_allclose(back.vertices, moved.vertices, atol=3e-6 * np.abs(moved.vertices).max())
    np.testing.assert_allclose(meshes.to_frame(moved, similarity).vertices, framed.vertices, atol=1e-5)


def test_normalise_is_idempotent():
    once, _ = meshes.normalise(shapes.torus())
    twice, similarity = meshes.normalise(once)
    np.testing.assert_allclose(twice.vertices, once.vertices, atol=1e-6)
    assert float(similarity.scale) == pytest.approx(1, abs=1e-6)


def test_normalise_ignores_vertices_that_no_face_uses():
    source = shapes.sphere()
    with_stray = source._replace(vertices=np.concatenate([source.vertices, [[100, 0, 0]]]).astype(np.float32))
    np.testing.assert_allclose(meshes.normalise(with_stray)[0].vertices[:-1], meshes.normalise(source)[0].vertices)


def test_up_z_turns_z_to_y_properly():
    rotation = meshes.UP_ROTATIONS["z"]
    np.testing.assert_array_equal(rotation @ [0, 0, 1], [0, 1, 0])
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize(
    ("vertices", "faces", "up", "text"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), "y", "the mesh has no vertices; normalise needs at least two"),
        (np.eye(3), [[0, 1, 2]], "x", "config.data.up is 'x'; accepted: y, z"),
        (
            np.full((3, 3), np.nan),
            [[0, 1, 2]],
            "y",
            "the mesh has vertices that are not finite; normalise needs finite ones",
        ),
        (np.ones((3, 3)), [[0, 1, 2]], "y", "the mesh's longest side is 0; normalise needs some extent"),
    ],
)
def test_normalise_refuses(vertices, faces, up, text):
    with pytest.raises(ValueError) as error:
        meshes.normalise(Mesh(np.asarray(vertices, np.float32), np.asarray(faces, np.int32)), up)
    assert str(error.value) == text


def test_face_normals_follow_the_right_hand_and_are_zero_without_area():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1e-12], [1e-12, 0, 0]], np.float32)
    normals = meshes.face_normals(vertices, np.array([[0, 1, 2], [0, 2, 1], [0, 1, 1], [0, 3, 4]]))
    np.testing.assert_allclose(normals, [[0, 0, 1], [0, 0, -1], [0, 0, 0], [0, 1, 0]], atol=1e-6)


def test_face_normals_have_right_gradients_and_finite_ones_without_area():
    vertices = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    faces = jnp.array([[0, 1, 2], [3, 3, 3]])
    total = jax.jit(lambda v: (meshes.face_normals(v, faces)[0] * jnp.array([1.0, 2.0, 3.0])).sum())
    gradient = jax.jit(jax.grad(total))(vertices)
    step = 1e-2 * np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    difference = (total(vertices + step) - total(vertices - step)) / 2
    np.testing.assert_allclose((gradient * step).sum(), difference, rtol=2e-2)
    everything = jax.jit(jax.grad(lambda v: meshes.face_normals(v, faces).sum()))(vertices)
    assert np.isfinite(everything).all()


def test_topology_of_closed_forms():
    sphere, torus = shapes.sphere(), shapes.torus()
    assert meshes.topology(sphere) == dict(
        vertices=642, faces=1280, components=1, euler=2, genus=0, non_manifold_edges=0, watertight=True
    )
    assert meshes.topology(torus)["euler"] == 0
    both = Mesh(
        np.concatenate([sphere.vertices, torus.vertices]),
        np.concatenate([sphere.faces, torus.faces + 642]).astype(np.int32),
    )
    assert meshes.topology(both)["components"] == 2
    holed = sphere._replace(faces=sphere.faces[1:])
    assert meshes.topology(holed) == dict(
        vertices=642, faces=1279, components=1, euler=1, genus=None, non_manifold_edges=0, watertight=False
    )
    fan = Mesh(np.eye(5, 3, dtype=np.float32), np.array([[0, 1, 2], [0, 1, 3], [1, 0, 4]], np.int32))
    assert meshes.topology(fan)["non_manifold_edges"] == 1


def joined(*parts: Mesh, shared: int = 0) -> Mesh:
    """The parts as one mesh; `shared` vertices of each from the second on are the first part's."""
    vertices, faces = [], []
    for part in parts:
        place = np.arange(len(part.vertices)) + sum(map(len, vertices))
        place[: shared if vertices else 0] = np.arange(shared if vertices else 0)
        vertices.append(part.vertices)
        faces.append(place[part.faces].astype(np.int32))
    return Mesh(np.concatenate(vertices), np.concatenate(faces))


SPHERE, TORUS = shapes.sphere(subdivisions=1), shapes.torus(sections=8)
DISC = SPHERE._replace(faces=SPHERE.faces[1:])


@pytest.mark.parametrize(
    ("mesh", "components", "genus"),
    [
        (SPHERE, 1, 0),
        (TORUS, 1, 1),
        (joined(TORUS, TORUS), 2, 2),
        (joined(SPHERE, TORUS, SPHERE), 3, 1),
        (DISC, 1, None),
        (joined(TORUS, DISC), 2, None),  # one open part makes the sum no count
        (joined(SPHERE, SPHERE._replace(faces=SPHERE.faces[:1]), shared=42), 1, None),  # edges of three faces
        (joined(SPHERE, SPHERE, shared=1), 1, None),
        (joined(SPHERE, SPHERE, SPHERE, shared=1), 1, None),  # Euler number 4 in one part: no handles are that few
    ],
    ids=["sphere", "torus", "tori", "three", "disc", "torus+disc", "non-manifold", "touching", "touching+"],
)
def test_genus_is_the_handles_of_all_parts_where_they_are_closed(mesh, components, genus):
    found = meshes.topology(mesh)
    assert (found["components"], found["genus"]) == (components, genus)
    assert genus is None or isinstance(found["genus"], int)


def test_topology_of_nothing():
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert (meshes.topology(empty)["faces"], meshes.topology(empty)["genus"]) == (0, None)
