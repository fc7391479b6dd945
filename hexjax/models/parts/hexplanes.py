"""What families share that decode planes of six maps: the autoencoder around two networks, its losses and its surface."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from hexjax import names
from hexjax.geometry import frame, planes
from hexjax.models.family import Family
from hexjax.models.parts import latents, losses
from hexjax.types import Array, Batch, Hexplane, Latent, Layout, Params, Spec

INPUTS = tuple(kind for kind in names.INPUTS if kind != "voxels")


class Networks(NamedTuple):
    """The two networks of an autoencoder, as functions.

    init(x [b,v,c,h,w], encoder_key, decoder_key) -> params, a dict
    encode(params, x) -> statistics of a latent [b,v,s,s,d]
    decode(params, latent [b,v,s,s,d]) -> raw numbers [b,v,c,h,w]
    """

    init: Callable[..., Params]
    encode: Callable[..., Array]
    decode: Callable[..., Array]


def network_input(batch: Batch, kind: str) -> Float[Array, "b v c h w"]:
    """What the encoder sees: depth (background 2.0) and normals in view axes, or the planes of another kind of input.

    Raises:
        ValueError: for an unknown `model.input`, or voxels.
    """
    check_input(kind)
    if kind != "continuous":
        return planes.planes(batch, kind)
    depth = jnp.where(batch["mask"], batch["depth"], frame.DEPTH_LIMIT)
    return jnp.concatenate([depth[:, :, None] - 1, planes.to_view_axes(batch["normal"])], 2)


def likelihood_of(config: Any) -> str | None:
    """The likelihood of the planes; None where depth and normals are given back as such.

    Raises:
        ValueError: for an unknown `reconstruction.kind`.
    """
    kind = config.reconstruction.kind
    if kind not in ("surface", *losses.LIKELIHOODS):
        accepted = ", ".join(("surface", *losses.LIKELIHOODS))
        raise ValueError(f"config.reconstruction.kind is {kind!r}; accepted: {accepted}")
    if config.model.input == "continuous" and kind in ("surface", "channels"):
        return None
    return "bernoulli" if kind == "surface" else kind


def to_maps(raw: Float[Array, "b v c h w"], reconstruction: str) -> Hexplane:
    """The decoder's raw numbers as maps: mask as a probability, depth inside the cube, unit normals.

    With reconstruction.kind = channels a pixel is hit where the decoded normal is longer than 1/2, as first published.
    """
    depth, normal = jnp.clip(raw[:, :, -4] + 1, 0, frame.DEPTH_LIMIT), raw[:, :, -3:]
    length = jnp.sqrt((normal**2).sum(2) + 1e-12)
    outline = lambda: jax.nn.sigmoid(planes.share_outline(raw[:, :, 0]))
    mask = outline() if reconstruction == "surface" else (length > 0.5) * 1.0
    return Hexplane(depth, planes.to_world_axes(normal / length[:, :, None]), mask)


def surface_loss(raw: Array, batch: Batch, config: Any) -> tuple[Array, dict[str, Array]]:
    """The reconstruction term on depth and normals, and its parts, as mean errors: that of depth in world units or, with a
    knee, Huber's."""
    reduce = functools.partial(losses.reduced, reduction=config.reconstruction.reduction)
    truth, mask = network_input(batch, "continuous"), batch["mask"]
    if config.reconstruction.kind == "channels":
        total = reduce((raw - truth) ** 2)
        return total, dict(reconstruction=total)
    entropy = reduce(losses.cross_entropy(planes.share_outline(raw[:, :, 0]), mask))
    shape = config.reconstruction.depth_knee, config.reconstruction.depth_quantile, 2 / mask.shape[-1]
    depth = reduce(losses.depth_error(raw[:, :, 1], truth[:, :, 0], mask, *shape))
    normal = reduce(losses.normal_error(raw[:, :, 2:], truth[:, :, 1:], mask))
    total = entropy + config.reconstruction.depth_weight * depth + config.reconstruction.normal_weight * normal
    return total, dict(reconstruction=total, mask=entropy, depth=depth, normal=normal)


def supervision(values: Array, batch: Batch, config: Any) -> dict[str, Array]:
    """The terms of the signed-distance supervision on the fused field's values at the batch's points."""
    judged = values, batch["sdf"], batch["slack"], batch["seen"]
    if config.model.input in names.HULLS:
        return dict(sdf_sign=losses.side_error(*judged))
    return dict(zip(("sdf", "sdf_sign"), losses.signed_distance_error(*judged)))


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


def check_input(kind: str) -> None:
    """Nothing; the kind is one of INPUTS.

    Raises:
        ValueError: for another one.
    """
    if kind not in INPUTS:
        raise ValueError(f"config.model.input is {kind!r}; accepted: {', '.join(INPUTS)}")


def channels(config: Any, resolution: int) -> int:
    """How many raw numbers a decoder gives for each pixel; with depth and normals given back as such the mask is one more."""
    plain = config.reconstruction.kind == "surface" and config.model.input == "continuous"
    return 5 if plain else planes.shape(config.model.input, resolution)[1]


def autoencoder(spec: Spec, config: Any, bottleneck: latents.Bottleneck, networks: Networks) -> Family:
    """The family of two networks with a bottleneck between, whatever they are made of.

    Raises:
        ValueError: for an unknown likelihood.
    """
    kind, latent, resolution = config.model.input, config.latent, spec.fields["mask"].shape[-1]
    views, likelihood = planes.shape(kind, resolution)[0], likelihood_of(config)
    tokens = views * latent.side**2

    def statistics(params: Params, x: Array) -> Array:
        found = networks.encode(params, x)
        return found.reshape(found.shape[0], tokens, -1)

    def raw_planes(params: Params, found: Latent) -> Array:
        cells = found.code.reshape(-1, views, latent.side, latent.side, latent.channels)
        raw = networks.decode(params, cells)
        return planes.share_outline(raw[:, :, 0])[:, :, None] if kind in planes.ALL_VIEWS else raw

    def maps_of(raw: Array) -> Hexplane:
        if likelihood is None:
            return to_maps(raw, config.reconstruction.kind)
        return planes.to_maps(losses.expectation(raw, likelihood), kind)

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        *network_keys, key = jax.random.split(key, 3)
        x = network_input(batch, kind)
        params = networks.init(x, *network_keys)
        return params | latents.init_prior(bottleneck, x, lambda inputs: statistics(params, inputs), key)

    def predict(params: Params, found: Latent) -> Array:
        raw = raw_planes(params, found)
        return (
            raw if likelihood is not None else planes.planes(to_maps(raw, config.reconstruction.kind)._asdict(), kind)
        )

    see = functools.partial(network_input, kind=kind)
    scale = 2.0 if likelihood is None else 1.0  # depth in units and normals in [-1, 1], not planes in [0, 1]
    meshed = surface(kind, config.extract.threshold)
    rate, fields = latents.around(bottleneck, config.kl, see, statistics, predict, judged(kind, likelihood, scale))

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: dict[str, Array]) -> tuple[Array, dict]:
        x = network_input(batch, kind)
        found = bottleneck.encode(statistics(params, x), key, knobs)
        raw = raw_planes(params, found)
        if likelihood is None:
            total, parts = surface_loss(raw, batch, config)
        else:
            spread = knobs["reconstruction.variance"], knobs["reconstruction.sigma_floor"]
            total = losses.reduced(
                losses.nll(raw, planes.planes(batch, kind), likelihood, *spread), config.reconstruction.reduction
            )
            parts = dict(reconstruction=total)
        term, told = latents.charge(bottleneck, rate(params, found, knobs), total, step, knobs, config.kl)
        total, parts = total + term, parts | told
        if config.sdf.weight > 0:
            fuse = functools.partial(meshed["field"], None)
            terms = supervision(jax.vmap(fuse)(maps_of(raw), batch["points"]), batch, config)
            total, parts = total + knobs["sdf.weight"] * sum(terms.values()), parts | terms
        return total, parts

    def decode(params: Params, found: Latent) -> Hexplane:
        return maps_of(raw_planes(params, found))

    supervised = ("points", "sdf", "slack", "seen") if config.sdf.weight > 0 else ()
    return Family(
        reads=(*planes.fields(kind), *supervised),
        sees=planes.fields(kind),
        layout=Layout("planes", tokens, latent.channels, (views, latent.side)),
        init=init,
        loss=loss,
        decode=decode,
        **meshed,
        **fields,
    )
