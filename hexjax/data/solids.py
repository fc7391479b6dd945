"""Solids of eighteen kinds made in code, as many as there are numbers: varied shapes and topologies without a download.

A kind draws the sizes of its parts and how many there are of some. +y is up, fronts look along +z, lengths are about 1.
Every other round of the kinds is turned about +y; all solids are stretched along the axes. The kinds and their ranges
were chosen by eye (ours). NumPy, since it runs once a solid.
"""

import itertools

import numpy as np

from hexjax.data import csg
from hexjax.types import Mesh

YAW = 0.4  # radians: the most that a solid is turned about +y
STRETCH = 0.12  # standard deviation of the logarithm of the scale along each axis
FACES = 6000  # the most

# Polylines over the keys of a number pad, 7 top left and 3 bottom right.
LETTERS = """
1793.46 17931.46 9713 9713.46 179.46 971365 17.93.46 79.82.13 9314 17.49.43 713 17593 1739 17931 1796.64
1796.64.53 974631 79.82 7139 729 71539 73.91 75.95.52 7913 746.93 82.46 17.93.46.82 713 19.46
"""

Generator = np.random.Generator


def _legs(x: float, z: float, height: float, splay: float, radius: float) -> list[csg.Part]:
    """Four, from the corners of a seat down and outwards."""
    corners = [np.array([i * x, 0, j * z]) for i in (-1, 1) for j in (-1, 1)]
    return [csg.rod(corner, splay * corner - (0, height, 0), radius, 0.85 * radius) for corner in corners]


def chair(random: Generator) -> list[csg.Part]:
    """Four legs, a seat, a back of slats, spindles or one panel; at times arms."""
    u = random.uniform
    w, d, leg, back, t = u(0.4, 0.6), u(0.4, 0.6), u(0.5, 0.9), u(0.7, 1.1), u(0.05, 0.075)
    splay, lean, x, z = u(0.9, 1.25), u(0, 0.2), w - t, t - d
    parts = [csg.box((0, 0, 0), (w, u(0.06, 0.12), d))]
    parts += _legs(x, z, leg, splay, t)
    parts += [csg.rod((i * x, 0, z), (i * x, back, z - lean), t) for i in (-1, 1)]
    style, count = random.integers(3), random.integers(1, 4)
    rail = lambda y, s: csg.rod((s - w, y * back, z - y * lean), (w - s, y * back, z - y * lean), s, flat=(1, 1, t / s))
    if style == 0:
        parts += [rail(y, 0.11 * back) for y in np.linspace(1, 0.4, count)]
    elif style == 1:
        parts += [rail(1, 1.5 * t)]
        parts += [csg.rod((i, 0, z), (i, back, z - lean), 0.8 * t) for i in np.linspace(-x, x, count + 2)[1:-1]]
    else:
        parts += [rail(0.62, 0.36 * min(back, 2 * w)), rail(0.95, 1.5 * t)]
    if random.random() < 0.4:
        y, front = 0.4 * back, -0.6 * z
        for i in (-x, x):
            parts += [csg.rod((i, y, z - 0.4 * lean), (i, y, front), t), csg.rod((i, 0, front), (i, y, front), t)]
    return parts


def table(random: Generator) -> list[csg.Part]:
    """A top, oval or with corners, on four legs or a pedestal; at times a lower shelf."""
    u = random.uniform
    w, d, h, t = u(0.6, 1.1), u(0.5, 0.7), u(0.5, 1.0), u(0.06, 0.09)
    oval = lambda along, angle: 1 / np.hypot(np.cos(angle) / d, np.sin(angle) / w)  # angle is from z
    parts = [csg.turned((0, 0, 0), 1, t, oval) if random.random() < 0.5 else csg.box((0, 0, 0), (w, t, d))]
    if random.random() < 0.35:
        foot = u(0.5, 0.8)
        return parts + [csg.rod((0, 0, 0), (0, -h, 0), u(0.1, 0.2)), csg.turned((0, -h, 0), 1, t, foot * d)]
    x, z, thick, splay = 0.65 * w, 0.65 * d, u(0.06, 0.1), u(0.85, 1.3)
    parts += _legs(x, z, h, splay, thick)
    if random.random() < 0.4:
        wider = 1 + 0.6 * (splay - 1)
        parts.append(csg.box((0, -0.6 * h, 0), (wider * x, 0.8 * t, wider * z)))
    return parts


def lamp(random: Generator) -> list[csg.Part]:
    """A foot, a pole and a hollow shade that is open below."""
    u = random.uniform
    h, low, half, foot, wall = u(0.6, 1.3), u(0.45, 0.7), u(0.3, 0.45), u(0.3, 0.5), 0.1
    high = low - u(0, 0.35)
    shade = csg.turned((0, h, 0), 1, half, csg.profile(low, high, half=half))
    hollow = csg.turned((0, h - wall, 0), 1, half, csg.profile(low - wall, high - wall, half=half))
    bulb = csg.ball((0, u(0.1, 0.35), 0), (u(0.1, 0.27), u(0.1, 0.3), u(0.1, 0.27)))
    stand = csg.turned((0, 0, 0), 1, 0.1, csg.profile(foot, 0.8 * foot, half=0.1))
    return [shade, csg.cut(hollow), csg.rod((0, 0, 0), (0, h + half - wall, 0), u(0.06, 0.09)), bulb, stand]


def mug(random: Generator) -> list[csg.Part]:
    """A cup with a wall and a handle: one hole."""
    u, side = random.uniform, random.choice([-1, 1])
    low, high, half, wall = u(0.35, 0.5), u(0.4, 0.6), u(0.4, 0.65), u(0.07, 0.1)
    handle = csg.ring((side * (low + high) / 2, 0, 0), 2, u(0.22, 0.32), u(0.06, 0.09), (0, u(0, 0.3) * half, 0))
    inner = csg.turned((0, 1.5 * wall, 0), 1, half, csg.profile(low - wall, high - wall, half=half))
    return [csg.turned((0, 0, 0), 1, half, csg.profile(low, high, half=half)), handle, csg.cut(inner)]


def vase(random: Generator) -> list[csg.Part]:
    """A turned pot, fluted, open above; at times two handles."""
    u, half, wall, flutes = random.uniform, random.uniform(0.6, 1.1), 0.1, random.integers(5, 13)
    radii = (u(0.3, 0.6) + np.cumsum(u(-0.25, 0.25, 5) * half)).clip(0.25, 0.75)
    curve, depth, twist = csg.profile(*radii, half=half, smooth=True), u(0, 0.05), u(-2, 2)
    outer = lambda along, angle: curve(along, angle) * (1 + depth * np.cos(flutes * angle + twist * along))
    inner = lambda along, angle: curve(along + 2 * wall, angle) * (1 - depth) - wall
    parts = [csg.turned((0, 0, 0), 1, half, outer)]
    if random.random() < 0.4:
        y, r = u(-0.3, 0.3) * half, u(0.2, 0.3)
        parts += [csg.ring((i * curve(np.float32(y), 0), y, 0), 2, r, 0.07) for i in (-1, 1)]
    return parts + [csg.cut(csg.turned((0, 2 * wall, 0), 1, half, inner))]


def bottle(random: Generator) -> list[csg.Part]:
    """A round or square body, a neck and a cap."""
    u, power = random.uniform, random.choice([2, 2, 4, 7])
    r, half, neck, length, cap = u(0.3, 0.6), u(0.5, 0.8), u(0.1, 0.17), u(0.2, 0.6), u(1.15, 1.5)
    curve = csg.profile(u(0.85, 1) * r, r, u(0.7, 1) * r, r, 0.5 * (r + neck), neck, half=half, smooth=True)
    corner = lambda angle: (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    body = csg.turned((0, 0, 0), 1, half, lambda along, angle: curve(along, angle) * corner(angle))
    top = half + length
    return [body, csg.rod((0, 0, 0), (0, top, 0), neck), csg.turned((0, top, 0), 1, u(0.08, 0.16), cap * neck)]


def rings(random: Generator) -> list[csg.Part]:
    """One to three rings of different size that touch, in one plane: as many holes."""
    u, axis, place, before, parts = random.uniform, random.choice([1, 2, 2]), np.zeros(2), 0.0, []
    heading = u(0, np.pi)
    for _ in range(random.integers(1, 4)):
        minor = u(0.1, 0.17)
        major = u(1.7, 3) * minor + 0.1
        place = place + (before + major) * np.array([np.cos(heading), np.sin(heading)]) * (before > 0)
        parts.append(csg.ring(np.roll([0, *place], axis), axis, major, minor))
        before, heading = major, heading + u(-1, 1)
    return parts


def chain(random: Generator) -> list[csg.Part]:
    """Two to four loose links, each through the next."""
    u, along, parts, place = random.uniform, random.integers(2), [], 0.0
    minor, axis = u(0.09, 0.12), np.eye(3)[along]
    for i in range(random.integers(2, 5)):
        major, stretch = u(3.3, 4) * minor, u(1.5, 4) * minor
        place += major + stretch
        parts.append(csg.ring(axis * place, (along + 1 + i % 2) % 3, major, minor, stretch * axis))
        place += major + stretch - 3.2 * minor  # so that the next one hangs free
    return parts


def gear(random: Generator) -> list[csg.Part]:
    """A toothed wheel with a bore and up to five more holes."""
    u, axis, teeth, count = random.uniform, random.integers(3), random.integers(7, 17), random.integers(0, 6)
    r, half, depth, sharp = u(0.7, 1.0), u(0.1, 0.3), u(0.07, 0.16), u(1, 4)
    tooth = lambda along, angle: r + depth * np.tanh(sharp * np.cos(teeth * angle)) / np.tanh(sharp)
    bore, hub = u(0.09, 0.14), u(0.22, 0.28)
    parts = [csg.turned((0, 0, 0), axis, half, tooth), csg.turned((0, 0, 0), axis, half + u(0, 0.2), hub)]
    size = min(0.15, 0.5 * (r - depth - hub) - 0.05)
    for angle in 2 * np.pi * np.arange(count) / max(count, 1):
        place = (r - depth + hub) / 2 * np.array([0, np.cos(angle), np.sin(angle)])
        parts.append(csg.cut(csg.turned(np.roll(place, axis), axis, 2 * half, size)))
    return parts + [csg.cut(csg.turned((0, 0, 0), axis, 1, bore))]


def airplane(random: Generator) -> list[csg.Part]:
    """A fuselage, swept wings, a tail and up to two engines a side."""
    u, high = random.uniform, random.choice([-0.06, 0.08])
    length, r, span, root, tip = u(0.7, 1.0), u(0.16, 0.26), u(0.7, 1.1), u(0.25, 0.4), u(0.12, 0.2)
    sweep, lift, thin = u(-0.1, 0.5), u(-0.05, 0.2), 0.3
    hull = csg.rod((0, 0, -length), (0, 0, length), 0.6 * r, r)
    parts = [hull, csg.ball((0, 0, 0), (1.1 * r, 1.15 * r, 1.2 * length))]
    back, tail, fin = 0.08 - length, u(0.3, 0.5), u(0.35, 0.6)
    for i in (-1, 1):
        wing = np.array([i * span, high + lift, 0.1 - sweep])
        parts.append(csg.rod((0, high, 0.1), wing, root, tip, (1, thin, 1)))
        parts.append(csg.rod((0, 0, back), (i * tail, 0.05, back - 0.1), 0.15, 0.1, (1, 0.4, 1)))
    parts.append(csg.rod((0, 0, back), (0, fin, back - 0.15), 0.16, 0.1, (0.4, 1, 1)))
    for share in np.linspace(0, 0.75, random.integers(1, 4))[1:]:
        x, y, z = share * span, high + share * lift - 0.1, 0.1 - share * sweep
        parts += [csg.rod((i * x, y, z), (i * x, y, z + 0.3), 0.09) for i in (-1, 1)]
    return parts


def car(random: Generator) -> list[csg.Part]:
    """A body on four to eight wheels, with a cabin, and a load behind it on some."""
    u = random.uniform
    w, h, length, r = u(0.35, 0.48), u(0.15, 0.25), u(0.8, 1.15), u(0.18, 0.27)
    parts = [csg.box((0, 0, 0), (w, h, length), 0.1)]
    if random.random() < 0.4:
        load, cabin = u(0.25, 0.6), u(0.2, 0.3)
        parts.append(csg.box((0, h + u(0.2, 0.4), length - cabin), (0.95 * w, 0.45, cabin), 0.1))
        parts.append(csg.box((0, h + load, -0.3), (w, load, length - 0.32), 0.04))
    else:
        parts.append(csg.ball((0, h, u(-0.35, 0)), (0.95 * w, u(0.35, 0.5), u(0.5, 0.75) * length)))
        if random.random() < 0.4:
            parts.append(csg.box((0, h + 0.15, 0.15 - length), (0.9 * w, 0.16, 0.08)))
    for z in np.linspace(-0.62, 0.62, random.integers(2, 5) if length > 1 else 2) * length:
        parts += [csg.turned((i * w, -h, z), 0, 0.1, r) for i in (-1, 1)]
    return parts


def tree(random: Generator) -> list[csg.Part]:
    """A trunk under stacked cones, or with branches that end in foliage."""
    u, h = random.uniform, random.uniform(0.3, 0.8)
    parts = [csg.rod((0, 0, 0), (0, h + 0.3, 0), u(0.09, 0.16), 0.08), csg.turned((0, 0, 0), 1, 0.07, u(0.2, 0.4))]
    if random.random() < 0.45:
        r, count = u(0.5, 0.8), random.integers(2, 5)
        for i, size in enumerate(np.linspace(1, 0.55, count)):
            half = 0.33 * size
            parts.append(csg.turned((0, h + half + 0.38 * i, 0), 1, half, csg.profile(r * size, 0.06, half=half)))
        return parts
    parts.append(csg.ball((0, h + 0.35, 0), 0.26))
    for angle in 2 * np.pi * (np.arange(random.integers(2, 6)) + u(0, 1)) / 3.3:
        out, up, size = u(0.2, 0.5), h + u(0.25, 0.8), u(0.25, 0.45)
        end = np.array([out * np.cos(angle), up, out * np.sin(angle)])
        crown = csg.ball(end, (size, size * u(0.6, 1), size))
        parts += [csg.rod((0, 0.6 * h, 0), end, 0.08), crown._replace(blend=0.1)]
    return parts


def letter(random: Generator) -> list[csg.Part]:
    """A capital, digit or sign of straight strokes, upright, at times slanted."""
    u = random.uniform
    w, h, stroke, depth, slant = u(0.5, 0.75), u(0.7, 1.0), u(0.12, 0.2), u(0.15, 0.4), u(0, 0.25) * (u() < 0.4)
    key = lambda k: ((int(k) - 1) % 3 - 1, (int(k) - 1) // 3 - 1)
    place = lambda k: np.array([w * key(k)[0] + slant * key(k)[1], h * key(k)[1], 0])
    return [
        csg.extruded(place(first), place(last), stroke, depth)
        for line in random.choice(LETTERS.split()).split(".")
        for first, last in itertools.pairwise(line)
    ]


def blob(random: Generator) -> list[csg.Part]:
    """Ellipsoids that melt into each other, each onto the one before."""
    place, parts = np.zeros(3), []
    for _ in range(random.integers(2, 8)):
        radii = random.uniform(0.25, 0.55, 3)
        parts.append(csg.ball(place, radii)._replace(blend=random.uniform(0.1, 0.3)))
        heading = random.normal(size=3)
        place = place + heading / np.linalg.norm(heading) * radii.mean() * random.uniform(0.9, 1.3)
    return parts


def knot(random: Generator) -> list[csg.Part]:
    """A torus knot, whose one hole is tied."""
    u, (p, q) = random.uniform, random.choice([(2, 3), (2, 3), (2, 5), (3, 2), (3, 4), (1, 5)])
    minor, major, height = u(0.27, 0.36), 0.7, u(0.27, 0.4)
    s = np.linspace(0, 2 * np.pi, 30 * max(p, q) + 1)
    r = major + minor * np.cos(q * s)
    path = np.stack([r * np.cos(p * s), r * np.sin(p * s), height * np.sin(q * s)], -1)
    return csg.tube(np.roll(path, random.integers(2), -1), u(0.07, 0.09 if p > 2 else 0.12))


def building(random: Generator) -> list[csg.Part]:
    """One to four storeys that step back, a roof, a gate through some, a wing beside others."""
    u, y = random.uniform, 0.0
    w, d = u(0.4, 0.8), u(0.4, 0.7)
    base, parts = w, []
    for _ in range(random.integers(1, 5)):
        half = u(0.15, 0.5)
        parts.append(csg.box((0, y + half, 0), (w, half, d), 0.02))
        y, w, d = y + 2 * half, w * u(0.6, 0.95), d * u(0.6, 0.95)
    roof, style = u(0.1, 0.35), random.integers(4)
    square = lambda angle: 1 / np.maximum(np.abs(np.cos(angle)) / d, np.abs(np.sin(angle)) / w)
    if style == 0:
        slope = lambda along, angle: (roof - along) / (2 * roof) * square(angle)
        parts.append(csg.turned((0, y + roof, 0), 1, roof, slope))
    elif style == 1:
        parts.append(csg.ball((0, y, 0), (0.85 * w, 2 * roof, 0.85 * d)))
    elif style == 2:
        parts.append(csg.rod((0, y, 0), (0, y + 2 * roof, 0), 0.09, 0.06))
    if random.random() < 0.4:
        x, height = random.choice([-1, 1]) * base * u(1.1, 1.4), u(0.2, 0.3)
        parts.append(csg.box((x, height, 0), (0.4 * base + 0.2, height, 0.35), 0.02))
    if random.random() < 0.5:
        parts.append(csg.cut(csg.rod((0, 0.05, -2), (0, 0.05, 2), u(0.12, 0.22))))
    return parts


def shelf(random: Generator) -> list[csg.Part]:
    """Boards and posts on two skids, open or with a back; some compartments are closed by a box."""
    u, rows, columns = random.uniform, random.integers(2, 5), random.integers(1, 4)
    w, h, d, t = u(0.4, 0.9), u(0.6, 1.0), u(0.2, 0.4), u(0.045, 0.06)
    heights = np.linspace(-h, h, rows + 1) + np.r_[0, u(-0.2, 0.2, rows - 1) * h / rows, 0]
    sides = np.linspace(-w, w, columns + 1)
    parts = [csg.box((0, y, 0), (w + t, t, d), 0.01) for y in heights]
    parts += [csg.box((x, 0, 0), (t, h + t, d), 0.01) for x in sides]
    foot, x = u(0.08, 0.3), u(0.3, 1) * w
    parts += [csg.box((i * x, -h - foot, 0), (1.3 * t, foot, 0.9 * d), 0.01) for i in (-1, 1)]
    if random.random() < 0.25:
        parts.append(csg.box((0, 0, t - d), (w, h, t), 0.01))
    for i, j in np.argwhere(random.random((rows, columns)) < 0.12):
        low, high = np.array([sides[j], heights[i], -d]), np.array([sides[j + 1], heights[i + 1], d])
        parts.append(csg.box((low + high) / 2, (high - low) / 2, 0.01))
    return [part._replace(blend=0.005) for part in parts]


def animal(random: Generator) -> list[csg.Part]:
    """A body on four legs with a neck, a head, ears or horns, and a tail."""
    u = random.uniform
    length, r, leg, rise = u(0.4, 0.8), u(0.2, 0.36), u(0.35, 0.8), u(0.1, 0.9)
    melt = lambda part: part._replace(blend=0.12)
    nose = np.array([0, rise + 0.1, length + u(0.15, 0.35)])
    parts = [csg.rod((0, 0, -length), (0, 0, length), r * u(0.8, 1), r)]
    for i in (-1, 1):
        for z in (-length, length):
            parts.append(melt(csg.rod((i * 0.6 * r, 0, z), (i * 0.75 * r, -leg - r, z + u(-0.1, 0.1)), 0.12, 0.09)))
        top = nose + (i * u(0.1, 0.3), u(0.2, 0.45), -0.08)
        parts.append(csg.rod(nose + (i * 0.08, 0.05, -0.08), top, 0.08, 0.06))
    parts.append(melt(csg.rod((0, 0, length), nose, 0.75 * r, 0.13)))
    parts.append(melt(csg.rod(nose, nose + (0, u(-0.2, 0), u(0.15, 0.35)), u(0.15, 0.2), u(0.09, 0.13))))
    return parts + [melt(csg.rod((0, 0, -length), (0, u(-0.3, 0.4), -length - u(0.2, 0.6)), 0.09, 0.06))]


# What makes each kind, in the order of numbers, and the cells of its grid along the longest side: fewer for bulky kinds.
KINDS = (
    (chair, 48), (mug, 30), (airplane, 56), (gear, 36), (tree, 36), (letter, 36), (table, 40), (blob, 28), (building, 34),
    (vase, 32), (rings, 40), (shelf, 38), (car, 36), (lamp, 34), (animal, 48), (bottle, 44), (knot, 40), (chain, 66),
)  # fmt: skip


def kind(number: int) -> str:
    """The kind of a solid: they take turns."""
    return KINDS[number % len(KINDS)][0].__name__


def name(number: int) -> str:
    """A solid's own name: its kind and its number."""
    return f"{kind(number)}_{number:04d}"


def shape(number: int) -> Mesh:
    """The solid of a number, at least 0: closed, wound outwards, the same for the same number."""
    random = np.random.default_rng(number)
    make, cells = KINDS[number % len(KINDS)]
    mesh = csg.mesh(make(random), cells, FACES)
    scale = np.exp(STRETCH * random.standard_normal(3).clip(-2, 2))
    angle = random.uniform(-YAW, YAW) * (number // len(KINDS) % 2)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    return mesh._replace(vertices=(mesh.vertices * scale @ turn).astype(np.float32))
