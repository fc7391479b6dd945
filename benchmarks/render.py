"""Six maps of depth, normal and mask, side by side with ray casters and rasterisers that a user might pick instead.

    python -m benchmarks.render                     (all sizes, about ten minutes on two cores)
    python -m benchmarks.render --toy               (small sizes, in seconds; nothing is kept)
    python -m benchmarks.render --table             (render.md and render.png made anew from render.json)

Every contender starts from arrays of vertices and faces and ends with the maps: builds and normal look-ups count. They
take turns in one process without the persistent compilation cache, after one call that is told apart. The meshes are
those of benchmarks.stages. A contender that does not import has a row that says so.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import common, stages

RESOLUTIONS = (256, 512, 1024)
RUNS, FEW, SLOW_SECONDS = 11, 3, 2.0  # runs of a contender; few where the first later one is slow
PAUSE_SECONDS = 0.02  # some contenders' threads spin for a while after their work
BATCH, BATCH_RESOLUTION = 64, 512
FILE = common.RESULTS / "render.json"
OURS = "hexjax"

Render = Callable[[], tuple[Any, Any, Any]]  # depth [6, h, w], normal [6, h, w, 3], mask [6, h, w]


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="two small meshes at two resolutions, three runs")
    parser.add_argument("--output", type=pathlib.Path, help="the JSON file; results/benchmarks/render.json by default")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="names with commas, ours first")
    parser.add_argument("--resolutions", default=",".join(map(str, RESOLUTIONS)), help="pixels a side, with commas")
    parser.add_argument("--table", action="store_true", help="only make the Markdown and the plot anew from the JSON")
    parser.add_argument("--worker", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        folder, toy, *asked = arguments.worker
        print(json.dumps(measure(pathlib.Path(folder), toy == "1", *asked)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.output or (pathlib.Path(folder) / "render.json" if arguments.toy else FILE)
        if not arguments.table:
            benchmark(arguments, folder, file)
        found = json.loads(file.read_text(encoding="utf-8"))
        common.write(file.with_suffix(".md"), table(found))
        plot(found, file.with_suffix(".png"))
        print(table(found))


def benchmark(arguments: argparse.Namespace, folder: str, file: pathlib.Path) -> None:
    """Nothing; measures the batch, then each resolution in a process of its own, and writes what there is after each."""
    told = {"command": common.command("benchmarks.render"), "machine": common.machine()}
    common.work("benchmarks.stages", "make", folder)
    toy = str(int(arguments.toy))
    found = told | {"rows": []} | common.work("benchmarks.render", folder, toy)
    for side in arguments.resolutions.split(",")[: 1 if arguments.toy else None]:
        found["rows"] += common.work("benchmarks.render", folder, toy, side, arguments.contenders)["rows"]
        common.write(file, json.dumps(found, indent=2) + "\n")


def measure(folder: pathlib.Path, toy: bool, resolution: str = "", names: str = "") -> dict[str, Any]:
    """The rows of a resolution and of the contenders named, in this process; without them the device and the batch."""
    import jax

    sizes = ("1k", "10k") if toy else stages.SIZES
    meshes = [_mesh(folder / f"{size}.ply") for size in sizes]
    head = common.data_folder() / stages.HEAD
    if head.is_file() and not toy:
        meshes.insert(2, _mesh(head))  # 17,680 faces as a scan has them: fine in the face, coarse elsewhere
    if not resolution:
        device = jax.devices()[0]
        told = {"device": f"{device.platform}: {device.device_kind}", "versions": _versions()}
        return told | {"batch": batch(meshes[min(2, len(meshes) - 1)], device, toy)}
    rows = [case(mesh, int(resolution), 3 if toy else RUNS, names.split(",")) for mesh in meshes]
    return {"rows": [row for part in rows for row in part]}


def case(mesh: Any, resolution: int, runs: int, names: list[str]) -> list[dict[str, Any]]:
    """One mesh at one resolution: a row for each contender, and how far its maps are from ours."""
    rows, renders, seconds, maps = {}, {}, {}, {}
    for name in names:
        rows[name] = {"contender": name, "faces": len(mesh.faces), "resolution_px": resolution}
        try:
            render = CONTENDERS[name](mesh, resolution)
        except (ImportError, OSError):  # OSError: a shared library that is not there
            rows[name]["told"] = "not importable"
            continue
        try:
            rows[name]["first_seconds"], maps[name] = common.timed(render)
            renders[name] = render
        except Exception:  # whatever keeps a peer from running is told
            if name == OURS:
                raise
            traceback.print_exc()
            rows[name]["told"] = "failed"
    for name in maps:
        if name != OURS:
            rows[name] |= _agreement(maps[OURS], maps[name])
    maps.clear()
    for turn in range(runs):
        for name, render in renders.items():
            if turn >= FEW and seconds[name][0] > SLOW_SECONDS:
                continue
            time.sleep(PAUSE_SECONDS)
            seconds.setdefault(name, []).append(common.timed(render)[0])
    for name, taken in seconds.items():
        spread = {"fastest_seconds": min(taken), "slowest_seconds": max(taken)}
        rows[name] |= {"runs": len(taken), "seconds": statistics.median(taken)} | spread
    for name in seconds:
        rows[name]["ratio_to_ours"] = rows[name]["seconds"] / rows[OURS]["seconds"]
    return list(rows.values())


def batch(mesh: Any, device: Any, toy: bool) -> dict[str, Any]:
    """Turned copies of a mesh in one call, with the arrays on the device, and the time to write as many bytes there."""
    import jax
    import jax.numpy as jnp
    from scipy.spatial.transform import Rotation

    from hexjax.geometry import hexplane

    count, resolution = (2, 64) if toy else (BATCH if device.platform != "cpu" else 8, BATCH_RESOLUTION)
    turns = Rotation.random(count, np.random.default_rng(0)).as_matrix()
    turned = np.einsum("bij,nj->bni", turns, np.asarray(mesh.vertices, np.float64))
    turned *= 0.95 / np.abs(turned).max((1, 2), keepdims=True)
    vertices = jnp.asarray(turned, jnp.float32)
    faces = jnp.broadcast_to(jnp.asarray(mesh.faces), (count, *mesh.faces.shape))
    render = lambda: jax.block_until_ready(hexplane.render_padded(vertices, faces, resolution))
    first, maps = common.timed(render)
    shapes = jax.tree.map(lambda a: (a.shape, a.dtype), maps)
    bytes_out = sum(a.nbytes for a in maps)
    del maps

    @jax.jit
    def fill(value):
        return [jnp.broadcast_to(value.astype(dtype), shape) for shape, dtype in shapes]

    write = lambda: jax.block_until_ready(fill(jnp.float32(1)))
    write()
    taken = [(common.timed(render)[0], common.timed(write)[0]) for _ in range(3 if toy else RUNS)]
    each, writing = (statistics.median(column) / count for column in zip(*taken))
    return {
        "meshes": count,
        "faces": len(mesh.faces),
        "resolution_px": resolution,
        "first_seconds": first,
        "seconds_a_mesh": each,
        "seconds_to_write_a_mesh": writing,
        "ratio_to_writing": each / writing,
        "bytes_a_mesh": bytes_out // count,
    }


def hexjax_render(mesh: Any, resolution: int) -> Render:
    """Ours, on JAX's default device; checks, padding and the transfer to the device included."""
    import jax

    from hexjax.geometry import hexplane

    return lambda: tuple(jax.block_until_ready(hexplane.render(mesh, resolution)))


def embreex_render(mesh: Any, resolution: int) -> Render:
    """Embree's scene through embreex, raw: nearest face of each ray, then depth and normal by NumPy."""
    from embreex import mesh_construction, rtcore_scene

    origins, directions = _rays(resolution)

    def render() -> tuple[Any, Any, Any]:
        scene = rtcore_scene.EmbreeScene()
        mesh_construction.TriangleMesh(scene, np.asarray(mesh.vertices)[np.asarray(mesh.faces)])
        hit = scene.run(origins, directions, query="INTERSECT", output=True)
        mask = hit["primID"] >= 0
        normal = _face_normals(mesh)[np.maximum(hit["primID"], 0)] * mask[:, None]
        return _shaped(np.where(mask, hit["tfar"], 0), normal, mask, resolution)

    return render


def trimesh_render(mesh: Any, resolution: int) -> Render:
    """Embree through trimesh's `ray.intersects_location`, as its documentation shows it."""
    import trimesh
    from trimesh.ray import ray_pyembree

    origins, directions = _rays(resolution)

    def render() -> tuple[Any, Any, Any]:
        surface = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        caster = ray_pyembree.RayMeshIntersector(surface)
        place, ray, face = caster.intersects_location(origins, directions, multiple_hits=False)
        depth, mask = np.zeros(len(origins), np.float32), np.zeros(len(origins), bool)
        normal = np.zeros((len(origins), 3), np.float32)
        depth[ray] = np.einsum("kc,kc->k", place - origins[ray], directions[ray])
        normal[ray], mask[ray] = surface.face_normals[face], True
        return _shaped(depth, normal, mask, resolution)

    return render


def open3d_render(mesh: Any, resolution: int) -> Render:
    """Open3D's RaycastingScene (Embree on all cores), with its own normals."""
    import open3d

    rays = open3d.core.Tensor(np.concatenate(_rays(resolution), -1))

    def render() -> tuple[Any, Any, Any]:
        scene = open3d.t.geometry.RaycastingScene()
        faces = np.asarray(mesh.faces, np.uint32)
        scene.add_triangles(open3d.core.Tensor(np.asarray(mesh.vertices, np.float32)), open3d.core.Tensor(faces))
        hit = scene.cast_rays(rays)
        depth = hit["t_hit"].numpy()
        mask = np.isfinite(depth)
        return _shaped(np.where(mask, depth, 0), hit["primitive_normals"].numpy(), mask, resolution)

    return render


def nvdiffrast_render(mesh: Any, resolution: int) -> Render:
    """nvdiffrast's CUDA rasteriser: six orthographic views in one call; face normals by the triangle's number."""
    import nvdiffrast.torch as rasteriser
    import torch

    from hexjax.geometry import frame

    context = rasteriser.RasterizeCudaContext()
    axes = torch.tensor(np.stack([frame.RIGHT, -frame.UP, frame.FORWARD], 1)).cuda()  # row 0 of its images is y = -1

    def render() -> tuple[Any, Any, Any]:
        points = torch.tensor(np.asarray(mesh.vertices, np.float32)).cuda()
        faces = torch.tensor(np.asarray(mesh.faces, np.int32)).cuda()
        clip = torch.einsum("vac,nc->vna", axes, points)
        clip = torch.cat([clip, torch.ones_like(clip[..., :1])], -1).contiguous()
        image = rasteriser.rasterize(context, clip, faces, (resolution, resolution))[0]
        face = image[..., 3].long() - 1
        corners = points[faces.long()]
        normals = torch.nn.functional.normalize(
            torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1
        )
        mask = face >= 0
        found = torch.where(mask, image[..., 2] + 1, 0), normals[face.clamp(min=0)] * mask[..., None], mask
        torch.cuda.synchronize()
        return found

    return render


def pytorch3d_render(mesh: Any, resolution: int) -> Render:
    """PyTorch3D's rasteriser, naive where a mesh is small and binned elsewhere, as it chooses; six views in one call."""
    import torch
    from pytorch3d.renderer.mesh import rasterize_meshes
    from pytorch3d.structures import Meshes

    from hexjax.geometry import frame

    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Its image has +x to the left and +y up.
    axes = torch.tensor(np.stack([-frame.RIGHT, frame.UP, frame.FORWARD], 1)).to(device)

    def render() -> tuple[Any, Any, Any]:
        points = torch.tensor(np.asarray(mesh.vertices, np.float32)).to(device)
        faces = torch.tensor(np.asarray(mesh.faces, np.int64)).to(device)
        views = torch.einsum("vac,nc->vna", axes, points) + torch.tensor([0.0, 0.0, 1.0], device=device)
        found = rasterize_meshes(Meshes(list(views), [faces] * 6), resolution, faces_per_pixel=1)
        packed = found[0][..., 0]
        mask, face = packed >= 0, packed % len(faces)
        corners = points[faces]
        normals = torch.nn.functional.normalize(
            torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1
        )
        maps = torch.where(mask, found[1][..., 0], 0), normals[face] * mask[..., None], mask
        if device == "cuda":
            torch.cuda.synchronize()
        return maps

    return render


def warp_render(mesh: Any, resolution: int) -> Render:
    """Warp's mesh query, one thread a ray, on its default device."""
    import warp

    warp.init()
    origins, directions = (warp.array(a, dtype=warp.vec3) for a in _rays(resolution))

    @warp.kernel
    def cast(
        mesh: warp.uint64,
        origin: warp.array(dtype=warp.vec3),
        direction: warp.array(dtype=warp.vec3),
        depth: warp.array(dtype=float),
        normal: warp.array(dtype=warp.vec3),
        hits: warp.array(dtype=int),
    ):
        ray = warp.tid()
        query = warp.mesh_query_ray(mesh, origin[ray], direction[ray], 4.0)
        if query.result:
            depth[ray] = query.t
            normal[ray] = query.normal
            hits[ray] = 1

    def render() -> tuple[Any, Any, Any]:
        surface = warp.Mesh(
            points=warp.array(np.asarray(mesh.vertices, np.float32), dtype=warp.vec3),
            indices=warp.array(np.asarray(mesh.faces, np.int32).reshape(-1), dtype=int),
        )
        count = len(origins)
        depth, normal, hits = warp.zeros(count, float), warp.zeros(count, warp.vec3), warp.zeros(count, int)
        warp.launch(cast, dim=count, inputs=[surface.id, origins, directions, depth, normal, hits])
        warp.synchronize()
        return depth, normal, hits

    def shaped() -> tuple[Any, Any, Any]:
        depth, normal, hits = render()
        return _shaped(depth.numpy(), normal.numpy(), hits.numpy() > 0, resolution)

    return shaped if str(warp.get_device()) == "cpu" else render


CONTENDERS = {
    OURS: hexjax_render,
    "embreex": embreex_render,
    "trimesh with embreex": trimesh_render,
    "Open3D": open3d_render,
    "nvdiffrast": nvdiffrast_render,
    "PyTorch3D": pytorch3d_render,
    "warp": warp_render,
}


def _mesh(file: pathlib.Path) -> Any:
    from hexjax.data import meshfile
    from hexjax.geometry import mesh as meshes

    return meshes.normalise(meshfile.load(file))[0]


def _rays(resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions [6 h w, 3], float32."""
    from hexjax.geometry import frame

    pairs = [frame.rays(view, resolution) for view in range(6)]
    return tuple(np.concatenate([np.asarray(a, np.float32).reshape(-1, 3) for a in part]) for part in zip(*pairs))


def _face_normals(mesh: Any) -> np.ndarray:
    corners = np.asarray(mesh.vertices)[np.asarray(mesh.faces)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)


def _shaped(depth: Any, normal: Any, mask: Any, resolution: int) -> tuple[Any, Any, Any]:
    shape = (6, resolution, resolution)
    return depth.reshape(shape), normal.reshape(*shape, 3), mask.reshape(shape)


def _agreement(ours: tuple[Any, Any, Any], theirs: tuple[Any, Any, Any]) -> dict[str, float]:
    """Share of pixels with the same mask, and of those that both hit, with a depth within 1e-4."""
    host = lambda a: np.asarray(a.cpu() if hasattr(a, "cpu") else a.numpy() if hasattr(a, "numpy") else a)
    (depth, _, mask), (other, _, other_mask) = (tuple(map(host, maps)) for maps in (ours, theirs))
    other, other_mask = other.reshape(depth.shape), other_mask.reshape(mask.shape) > 0
    both = mask & other_mask
    near = np.abs(depth - other)[both] < 1e-4
    return {"same_mask": float((mask == other_mask).mean()), "same_depth": float(near.mean()) if both.any() else 1.0}


def _versions() -> dict[str, str]:
    import importlib.metadata

    found = {}
    names = ("embreex", "trimesh", "open3d", "open3d-cpu", "nvdiffrast", "pytorch3d", "warp-lang", "torch")
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Our seconds as a constant plus so much a face and a pixel of the six maps, none negative; relative errors count."""
    import scipy.optimize

    ours = [row for row in rows if row["contender"] == OURS]
    seconds = np.array([row["seconds"] for row in ours])
    terms = np.array([[1, row["faces"], 6 * row["resolution_px"] ** 2] for row in ours])
    solution, _ = scipy.optimize.nnls(terms / seconds[:, None], np.ones(len(ours)))
    error = np.abs(terms @ solution / seconds - 1)
    names = ("constant_seconds", "seconds_a_face", "seconds_a_pixel")
    return dict(zip(names, map(float, solution))) | {"median_relative_error": float(np.median(error))}


def fastest_peer(rows: list[dict[str, Any]], faces: int, resolution: int) -> dict[str, Any] | None:
    """The row of the fastest contender but ours, if any ran."""
    ran = [row for row in rows if (row["faces"], row["resolution_px"]) == (faces, resolution) and "seconds" in row]
    return min((row for row in ran if row["contender"] != OURS), key=lambda row: row["seconds"], default=None)


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown: one line a mesh and resolution, one column a contender, milliseconds."""
    machine, rows, versions = found["machine"], found["rows"], found["versions"]
    names = list(dict.fromkeys(row["contender"] for row in rows))
    ran = [name for name in names if any(row["contender"] == name and "seconds" in row for row in rows)]
    absent = {row["contender"]: row["told"] for row in rows if row["contender"] not in ran}
    lines = [
        f"Made by `{found['command']}`; {machine['cpu']}, {machine['cores']} cores, {found['device']}; jax "
        f"{machine['versions']['jax']}, {', '.join(f'{name} {version}' for name, version in versions.items())}; load "
        f"average {machine['load_average_before']} before the start. Six maps from vertices and faces, medians of "
        f"{max(row.get('runs', 0) for row in rows)} runs in turn ({FEW} where a run takes over {SLOW_SECONDS:.0f} s).",
        "",
        f"| faces | maps | {' | '.join(f'{name}, ms' for name in ran)} | fastest peer / ours | first call, s |",
        "|---|---|" + "---|" * (len(ran) + 2),
    ]
    for faces, resolution in dict.fromkeys((row["faces"], row["resolution_px"]) for row in rows):
        here = {r["contender"]: r for r in rows if (r["faces"], r["resolution_px"]) == (faces, resolution)}
        times = [
            f"{1e3 * here[name]['seconds']:.3g}" if "seconds" in here[name] else here[name]["told"] for name in ran
        ]
        peer = fastest_peer(rows, faces, resolution)
        ratio = f"{peer['ratio_to_ours']:.2f} ({peer['contender']})" if peer else ""
        lines.append(
            f"| {faces:,} | {resolution}² | {' | '.join(times)} | {ratio} | {here[OURS]['first_seconds']:.1f} |"
        )
    growth, many = fit(rows), found["batch"]
    worst = min((row["same_depth"] for row in rows if "same_depth" in row), default=1)
    mask = min((row["same_mask"] for row in rows if "same_mask" in row), default=1)
    lines += [
        "",
        *[f"{name}: {told}." for name, told in absent.items()],
        f"Ours grows as {1e3 * growth['constant_seconds']:.2g} ms + {1e9 * growth['seconds_a_face']:.0f} ns a face + "
        f"{1e9 * growth['seconds_a_pixel']:.1f} ns a pixel of the six maps (median error of this fit "
        f"{growth['median_relative_error']:.0%}).",
        f"Against every peer, at least {mask:.5%} of the pixels agree on what is hit, and of those that both hit at "
        f"least {worst:.5%} on the depth within 1e-4.",
        f"A batch of {many['meshes']} meshes of {many['faces']:,} faces at {many['resolution_px']}², arrays on the "
        f"device: {1e3 * many['seconds_a_mesh']:.3g} ms a mesh, {many['ratio_to_writing']:.1f} times what writing its "
        f"{many['bytes_a_mesh'] / 2**20:.0f} MiB of maps takes.",
    ]
    return "\n".join(lines) + "\n"


def plot(found: dict[str, Any], file: pathlib.Path) -> None:
    """Nothing; draws seconds against faces and against pixels, one line a contender."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in found["rows"] if "seconds" in row]
    middle = sorted({row["resolution_px"] for row in rows})[len({row["resolution_px"] for row in rows}) // 2]
    faces = sorted({row["faces"] for row in rows})
    chosen = faces[min(1, len(faces) - 1)]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    panels = (
        (axes[0], "faces", [r for r in rows if r["resolution_px"] == middle], f"six maps of {middle}²"),
        (axes[1], "resolution_px", [r for r in rows if r["faces"] == chosen], f"{chosen:,} faces"),
    )
    growth = fit(found["rows"])
    for axis, key, part, title in panels:
        for name in dict.fromkeys(row["contender"] for row in part):
            line = sorted((row[key], row["seconds"]) for row in part if row["contender"] == name)
            style = {"linewidth": 2.5, "color": "black"} if name == OURS else {"linewidth": 1.2}
            axis.plot(*zip(*line), marker="o", markersize=4, label=name, **style)
        across = np.geomspace(*(f(row[key] for row in part) for f in (min, max)), 50)
        count, pixels = (across, 6 * middle**2) if key == "faces" else (chosen, 6 * across**2)
        fitted = growth["constant_seconds"] + growth["seconds_a_face"] * count + growth["seconds_a_pixel"] * pixels
        axis.plot(across, fitted, color="black", linestyle=":", linewidth=1, label=f"{OURS}, fitted")
        axis.set(
            xscale="log", yscale="log", title=title, xlabel="faces" if key == "faces" else "pixels a side of a map"
        )
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("seconds")
    axes[1].set_xticks(
        sides := sorted({row["resolution_px"] for row in rows}), [str(side) for side in sides], minor=False
    )
    axes[1].set_xticks([], minor=True)
    axes[1].legend(fontsize=8, loc="upper left")
    figure.savefig(file, dpi=130, metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
