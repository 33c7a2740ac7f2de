"""Phantom fundus photograph: disc and cup, vessel arcades, macula, and the signs of retinopathy in the facts.

>>> from tasks.phantom.facts import sample_facts
>>> facts = sample_facts("fundus", stream(1, "facts"))
>>> len(draw_fundus(facts, seed=1, size=64).regions["microaneurysms"]) == facts.microaneurysm_count
True

Regions: "optic_disc", "optic_cup", "macula", "microaneurysms", "haemorrhages", "exudates" (a box each), and
"new_vessels". The scene is laid out for a right eye (disc to the viewer's right) and mirrored for a left eye.
Needs numpy and Pillow through `canvas` only.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from tasks.phantom.canvas import (
    RGB,
    Box,
    Canvas,
    Drawn,
    Floats,
    around,
    between,
    blob,
    bounds,
    curve,
    direction,
    mixed,
    noise,
    scaled,
    sin,
    stream,
)
from tasks.phantom.facts import FundusFacts

_DISC = np.array([0.715, 0.50])
_MACULA = np.array([0.36, 0.515])
_HUB = np.array([0.55, 0.50])
_DISC_RADIUS = 0.082
_FIELD = 0.485
_ARTERY: RGB = (178, 48, 30)
_VEIN: RGB = (122, 22, 20)
_BLOOD: RGB = (112, 10, 12)
_ARCADES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.715, 0.47), (0.70, 0.36), (0.62, 0.255), (0.49, 0.205), (0.33, 0.215), (0.19, 0.28), (0.10, 0.36)),
    ((0.715, 0.53), (0.70, 0.64), (0.62, 0.755), (0.49, 0.805), (0.33, 0.795), (0.19, 0.73), (0.10, 0.65)),
    ((0.725, 0.47), (0.755, 0.37), (0.83, 0.28), (0.89, 0.235)),
    ((0.725, 0.53), (0.755, 0.63), (0.83, 0.72), (0.89, 0.765)),
    ((0.74, 0.49), (0.83, 0.47), (0.96, 0.46)),
)
"""Courses of the main vessels of a right eye: temporal above and below, nasal above, below and straight."""


def draw_fundus(facts: FundusFacts, seed: int, size: int) -> Drawn:
    """Draw one eye; see the module docstring for the regions."""
    looks = stream(seed, "fundus looks")
    canvas = Canvas(size, (6, 4, 4))
    _retina(canvas, looks)
    macula = _macula(canvas)
    vessels = _vessels(canvas, stream(seed, "fundus vessels"))
    disc, cup = _disc(canvas, facts, stream(seed, "fundus disc"))
    _trunks(canvas, vessels)
    exudates = _exudates(canvas, facts, stream(seed, "fundus exudates"))
    bleeds = _haemorrhages(canvas, facts, stream(seed, "fundus haemorrhages"))
    dots = _microaneurysms(canvas, facts, stream(seed, "fundus microaneurysms"))
    fresh = _new_vessels(canvas, facts, stream(seed, "fundus new vessels"))
    window = canvas.mask(blob(0.5, 0.5, _FIELD, points=96), blur=0.012)
    dark = Image.new("RGB", canvas.shape, (6, 4, 4))
    dark.paste(canvas.image, (0, 0), window)
    canvas.replace(dark)
    regions = {"optic_disc": [disc], "optic_cup": [cup], "macula": [macula], "microaneurysms": dots,
               "haemorrhages": bleeds, "exudates": exudates, "new_vessels": fresh}  # fmt: skip
    if facts.laterality == "left eye":
        canvas.replace(canvas.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        regions = {name: [(1 - x1, y0, 1 - x0, y1) for x0, y0, x1, y1 in boxes] for name, boxes in regions.items()}
    return Drawn(canvas.finish(looks, 4), regions)


def _retina(canvas: Canvas, rng: np.random.Generator) -> None:
    """Orange-red ground, brighter towards the disc, with a faint choroidal pattern."""
    warm = float(rng.random())
    rim, middle = mixed((142, 54, 26), (120, 44, 30), warm), mixed((214, 108, 54), (196, 88, 52), warm)
    canvas.polygon(blob(0.5, 0.5, _FIELD, points=96), rim)
    canvas.paste(middle, canvas.mask(blob(0.56, 0.5, 0.40, points=48), blur=0.22))
    canvas.paste(scaled(rim, 0.86), noise(rng, 26, canvas.shape, 0, 110))
    canvas.paste(scaled(middle, 1.12), noise(rng, 7, canvas.shape, 0, 80))


def _macula(canvas: Canvas) -> Box:
    x, y = _MACULA.tolist()
    canvas.paste((132, 46, 24), canvas.mask(blob(x, y, 0.115), blur=0.07).point([v * 6 // 10 for v in range(256)]))
    canvas.paste((92, 26, 18), canvas.mask(blob(x, y, 0.045), blur=0.045).point([v * 7 // 10 for v in range(256)]))
    canvas.dots(np.array([[x, y]]), [0.005], [(224, 150, 100)])
    return bounds(np.array([[x, y]]), 0.10)


def _taper(canvas: Canvas, path: Floats, colour: RGB, widths: tuple[float, float], pieces: int = 5) -> None:
    """A vessel that narrows along its course; wide arteries carry a bright central reflex."""
    last = len(path) - 1
    for k in range(pieces):
        part = path[last * k // pieces : last * (k + 1) // pieces + 1]
        width = widths[0] + (widths[1] - widths[0]) * k / (pieces - 1)
        canvas.line(part, colour, width)
        if colour == _ARTERY and width > 0.009 and canvas.width > 300:
            canvas.line(part, mixed(colour, (255, 190, 150), 0.45), width * 0.3)


def _vessels(canvas: Canvas, rng: np.random.Generator) -> list[tuple[Floats, RGB]]:
    """Artery and vein along every arcade with branches; returns the courses near the disc for the top layer."""
    near: list[tuple[Floats, RGB]] = []
    for number, course in enumerate(_ARCADES):
        for vein in (True, False):
            spread = 0.022 if vein else -0.016
            points = np.asarray(course)
            away = points - np.array([0.45, 0.5])
            way = np.arange(len(course)) / (len(course) - 1)
            grow = np.minimum(1.0, way * 3)[:, None] * spread / 0.3
            jitter = between(rng, -0.012, 0.012, points.shape) * np.minimum(1.0, way * 2)[:, None]
            points = points + away * grow + jitter
            path = curve([(x, y) for x, y in points.tolist()], 8)
            colour, width = (_VEIN, 0.0165) if vein else (_ARTERY, 0.0115)
            if number > 1:
                width *= 0.75
            _branches(canvas, path, colour, width, number, rng)
            _taper(canvas, path, colour, (width, width * 0.42))
            near.append((path[: len(path) // 3], colour))
    return near


def _branches(canvas: Canvas, path: Floats, colour: RGB, width: float, number: int, rng: np.random.Generator) -> None:
    """Side branches: inward ones run towards the macula and stop short of it, outward ones to the periphery."""
    t = (np.arange(9) / 8)[:, None]
    count = 6 if number < 2 else 2
    draws = rng.random((count, 3)).tolist()
    for k, (place, length, side) in enumerate(draws):
        at = min(int(len(path) * (0.24 + 0.11 * k + 0.05 * place)), len(path) - 2)
        start = path[at]
        if k % 2 == 0 and number < 2:
            reach = (_MACULA - start) * (0.5 + 0.18 * length)
        else:
            reach = (start - _HUB) * (0.45 + 0.27 * length)
        lean = path[min(at + 4, len(path) - 1)] - start
        bend = np.array([-reach[1], reach[0]]) * (side - 0.5) * 0.5
        twig = start + reach * t + (bend + lean * 1.2) * t * (1 - t)
        _taper(canvas, twig, colour, (width * 0.5, width * 0.2), 2)


def _trunks(canvas: Canvas, near: list[tuple[Floats, RGB]]) -> None:
    """Vessel trunks once more over the disc, from which they emerge."""
    for path, colour in near:
        canvas.line(path[:6], colour, 0.009 if colour == _VEIN else 0.006)


def _disc(canvas: Canvas, facts: FundusFacts, rng: np.random.Generator) -> tuple[Box, Box]:
    x, y = _DISC.tolist()
    rim = blob(x, y, _DISC_RADIUS, 0.92, 0.25, 0.0, None, 40)
    canvas.paste((236, 150, 88), canvas.mask(blob(x, y, _DISC_RADIUS * 1.12, 0.92, 0.25), blur=0.02))
    canvas.polygon(rim, (247, 190, 112))
    radius = _DISC_RADIUS * facts.cup_disc_x100 / 100
    cx = x + float(between(rng, -0.08, 0.02)) * (_DISC_RADIUS - radius)
    cup = blob(cx, y, radius, 0.94, 0.25, 0.0, None, 32)
    canvas.polygon(cup, (255, 238, 206))
    canvas.polygon(np.array([cx, y]) + (cup - np.array([cx, y])) * 0.72, (255, 248, 228))
    return bounds(rim), bounds(cup)


def _places(rng: np.random.Generator, count: int, low: float, high: float, quadrant: int | None = None,
            centre: tuple[float, float] = (0.48, 0.5)) -> Floats:  # fmt: skip
    """Points between two radii of a centre, off disc and fovea, apart from each other, shape (count, 2)."""
    start, span = (0.0, 1.0) if quadrant is None else (quadrant / 4 + 0.02, 0.21)
    gap = 0.05 if count < 20 else 0.04
    chosen: list[tuple[float, float]] = []
    while len(chosen) < count:
        a, r = rng.random(2).tolist()
        angle = start + span * a
        reach = math.sqrt(low * low + (high * high - low * low) * r)
        c, s = direction(angle)
        x, y = centre[0] + reach * c, centre[1] + reach * s
        taken = [(x - p) * (x - p) + (y - q) * (y - q) < gap * gap for p, q in chosen]
        disc = (x - _DISC[0]) ** 2 + (y - _DISC[1]) ** 2 < 0.12 * 0.12
        fovea = (x - _MACULA[0]) ** 2 + (y - _MACULA[1]) ** 2 < 0.055 * 0.055
        edge = (x - 0.5) ** 2 + (y - 0.5) ** 2 > 0.44 * 0.44
        if not (any(taken) or disc or fovea or edge):
            chosen.append((x, y))
        gap *= 0.995
    return np.asarray(chosen)


def _microaneurysms(canvas: Canvas, facts: FundusFacts, rng: np.random.Generator) -> list[Box]:
    """Small round red dots at the posterior pole."""
    if not facts.microaneurysm_count:
        return []
    xy = _places(rng, facts.microaneurysm_count, 0.07, 0.24, None, (0.38, 0.51))
    size = between(rng, 0.0075, 0.0095, len(xy))
    canvas.dots(xy, size * 1.5, [(164, 52, 34)] * len(xy))
    canvas.dots(xy, size, [(118, 6, 10)] * len(xy))
    return [around(x, y, r) for (x, y), r in zip(xy.tolist(), (size * 1.5).tolist(), strict=True)]


def _haemorrhages(canvas: Canvas, facts: FundusFacts, rng: np.random.Generator) -> list[Box]:
    """Dark blots and flames; "few" lie in one half, "four quadrants" spread over all of them evenly."""
    if not facts.haemorrhage_count:
        return []
    if facts.haemorrhages == "few":
        xy = _places(rng, facts.haemorrhage_count, 0.15, 0.36, int(rng.integers(4)))
    else:
        shares = [len(part) for part in np.array_split(np.arange(facts.haemorrhage_count), 4)]
        xy = np.concatenate([_places(rng, n, 0.12, 0.42, q) for q, n in enumerate(shares)])
    boxes: list[Box] = []
    for x, y in xy.tolist():
        radius, flame = float(between(rng, 0.016, 0.027)), float(rng.random()) < 0.35
        turn = float(rng.random())
        shape = blob(x, y, radius * (1.35 if flame else 1.0), 0.42 if flame else 0.82, turn, 0.26, rng, 20)
        canvas.polygon(shape, mixed(_BLOOD, (150, 30, 20), 0.35))
        canvas.polygon(np.array([x, y]) + (shape - np.array([x, y])) * 0.78, _BLOOD)
        boxes.append(bounds(shape))
    return boxes


def _exudates(canvas: Canvas, facts: FundusFacts, rng: np.random.Generator) -> list[Box]:
    """Waxy yellow deposits with sharp edges: a small cluster, or a broken ring about the macula."""
    if not facts.exudate_count:
        return []
    many = facts.exudates == "many"
    begin = float(rng.random())
    turns = begin + np.arange(facts.exudate_count) / facts.exudate_count * (0.85 if many else 0.12)
    turns = turns + between(rng, -0.012, 0.012, len(turns))
    reach = between(rng, 0.085, 0.135, len(turns))
    boxes: list[Box] = []
    for angle, r in zip(turns.tolist(), reach.tolist(), strict=True):
        c, s = direction(angle)
        x, y = float(_MACULA[0]) + r * c, float(_MACULA[1]) + r * s
        shape = blob(x, y, float(between(rng, 0.009, 0.016)), 0.75, float(rng.random()), 0.25, rng, 14)
        canvas.polygon(shape, (246, 206, 92))
        canvas.polygon(np.array([x, y]) + (shape - np.array([x, y])) * 0.65, (255, 234, 140))
        boxes.append(bounds(shape))
    return boxes


def _new_vessels(canvas: Canvas, facts: FundusFacts, rng: np.random.Generator) -> list[Box]:
    """A frond of fine looping vessels that grows from the disc."""
    if facts.neovascularisation == "absent":
        return []
    t = np.arange(33) / 32
    trace: list[Floats] = []
    lean = float(between(rng, -0.06, 0.06))
    for k in range(15):
        a, b, c = rng.random(3).tolist()
        angle = lean + 0.25 + k / 15 + 0.05 * a
        length = 0.10 + 0.06 * b
        side = 0.026 * sin(t * (2.0 + 1.5 * c) + a) * np.minimum(1.0, 3 * t)
        along = 0.072 + 0.75 * length * t - 0.2 * length * t * t * t
        c, s = direction(angle)
        path = _DISC + np.stack([along * c - side * s, along * s + side * c], axis=1)
        canvas.line(path, (158, 12, 18), 0.005)
        loop = blob(path[-1, 0], path[-1, 1], 0.014 + 0.010 * c, 0.8, a, 0.2, rng, 14)
        canvas.line(np.concatenate([loop, loop[:1]]), (158, 12, 18), 0.0045)
        trace += [path, loop]
    return [bounds(np.concatenate(trace))]
