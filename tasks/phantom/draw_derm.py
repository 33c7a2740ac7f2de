"""Phantom dermoscopy: one pigmented lesion with the ABCD criteria of the facts, hairs, and a ruler in millimetres.

>>> from tasks.phantom.facts import sample_facts
>>> facts = sample_facts("derm", stream(1, "facts"))
>>> sorted(draw_derm(facts, seed=1, size=64).regions)[0]
'colour:black'

Regions: "lesion", "ruler", and "colour:NAME" for each of the six colours (the boxes of its patches; the main
colour's box is the lesion). One unit of length stands for `FIELD_MM` millimetres.
Needs numpy and Pillow through `canvas` only.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from tasks.phantom.canvas import (
    RGB,
    Box,
    Canvas,
    Drawn,
    Floats,
    between,
    blob,
    bounds,
    cos,
    direction,
    mixed,
    noise,
    ring,
    scaled,
    sin,
    stream,
)
from tasks.phantom.facts import COLOURS, DermFacts

FIELD_MM = 12
"""Width of the field of view in millimetres; the ruler's ticks are 1 mm apart."""

_INK: dict[str, RGB] = {
    "light brown": (186, 126, 80), "dark brown": (104, 62, 38), "red": (194, 76, 72),
    "blue-grey": (98, 114, 140), "black": (30, 24, 26), "white": (244, 234, 226),
}  # fmt: skip
_SKIN: tuple[RGB, ...] = ((232, 190, 168), (222, 176, 150), (238, 204, 186), (214, 168, 144))
_POINTS = 120
_CENTRE = (0.5, 0.46)
_MIRRORED = ((-0.40, 0.30), (0.32, 0.34), (0.02, 0.0), (-0.02, 0.55), (0.52, 0.0))
"""Patch places of a lesion that is symmetric in one axis, in lesion radii along and across that axis."""


def draw_derm(facts: DermFacts, seed: int, size: int) -> Drawn:
    """Draw one lesion; see the module docstring for the regions."""
    looks = stream(seed, "derm looks")
    skin = _SKIN[int(looks.integers(len(_SKIN)))]
    canvas = Canvas(size, skin)
    canvas.paste(scaled(skin, 0.9), noise(looks, 6, canvas.shape, 0, 120))
    shape = stream(seed, "derm shape")
    turn = float(shape.random())
    outline = _outline(facts, turn, shape)
    radius = facts.diameter_mm / FIELD_MM / 2
    soft = 0.045 * radius / 0.2 if facts.border == "regular" else 0.0
    mask = canvas.mask(outline, blur=min(0.05, soft))
    main = _INK[facts.main_colour]
    lesion = Image.new("RGB", canvas.shape, main)
    lesion.paste(scaled(main, 0.78), (0, 0), noise(looks, 7, canvas.shape, 0, 160))
    lesion.paste(mixed(main, skin, 0.25), (0, 0), noise(looks, 34, canvas.shape, 0, 130))
    surface = Canvas(size, main)
    surface.replace(lesion)
    patches = _patches(surface, facts, turn, radius, stream(seed, "derm patches"))
    _structure(surface, facts, radius, stream(seed, "derm structure"))
    canvas.paste(surface.image, mask)
    _hairs(canvas, stream(seed, "derm hairs"))
    canvas.multiply(noise(looks, 110, canvas.shape, 236, 255))
    _vignette(canvas)
    ruler = _ruler(canvas)
    box = bounds(outline)
    colours: dict[str, list[Box]] = {f"colour:{name}": patches.get(name, []) for name in COLOURS}
    colours[f"colour:{facts.main_colour}"] = [box]
    return Drawn(canvas.finish(looks, 4), {"lesion": [box], "ruler": [ruler], **colours})


def _outline(facts: DermFacts, turn: float, rng: np.random.Generator) -> Floats:
    """Contour whose symmetry, notched eighths and largest diameter are those of the facts, shape (120, 2)."""
    angle = ring(_POINTS)
    phase = rng.random(3)
    if facts.asymmetry == "none":
        scale = 1 + 0.03 * cos(4 * angle)
    elif facts.asymmetry == "one axis":
        scale = 1 + 0.24 * cos(angle) - 0.05 * cos(2 * angle) + 0.09 * cos(3 * angle)
    else:
        scale = 1 + 0.20 * cos(angle + phase[0]) + 0.15 * cos(2 * angle + phase[1]) + 0.13 * cos(3 * angle + phase[2])
    if facts.border_segments:
        notched = rng.permutation(8)[: facts.border_segments]
        inside = np.isin(np.arange(_POINTS) * 8 // _POINTS, notched)
        teeth = np.repeat(between(rng, -1.0, 1.0, _POINTS // 3), 3) + between(rng, -0.3, 0.3, _POINTS)
        scale = scale + np.where(inside, 0.105 * teeth, 0.0)
    u, v = scale * cos(angle), 0.88 * scale * sin(angle)
    c, s = direction(turn)
    points = np.stack([u * c - v * s, u * s + v * c], axis=1)
    off = points[:, None, :] - points[None, :, :]
    widest = float(np.sqrt(np.max(off[..., 0] * off[..., 0] + off[..., 1] * off[..., 1])))
    points = points * (facts.diameter_mm / FIELD_MM / widest)
    middle = (np.max(points, axis=0) + np.min(points, axis=0)) / 2
    outline: Floats = points - middle + np.asarray(_CENTRE)
    return outline


def _patches(canvas: Canvas, facts: DermFacts, turn: float, radius: float,
             rng: np.random.Generator) -> dict[str, list[Box]]:  # fmt: skip
    """Paint every further colour, placed with the lesion's own symmetry; colour to boxes."""
    boxes: dict[str, list[Box]] = {}
    c, s = direction(turn)
    start = float(rng.random())
    for k, name in enumerate(facts.colours[1:]):
        spots: list[tuple[float, float]]
        share = 0.15
        if facts.asymmetry == "none":
            reach, begin = ((0.0, 0.0), (0.56, 0.0), (0.56, 0.125), (0.33, 0.0625))[k]
            turns = ring(4) + begin
            spots = list(zip((reach * cos(turns)).tolist(), (reach * sin(turns)).tolist(), strict=True))
            if k == 0:
                spots, share = [(0.0, 0.0)], 0.30 if len(facts.colours) < 3 else 0.22
        elif facts.asymmetry == "one axis":
            u, v = _MIRRORED[k]
            spots, share = ([(u, v), (u, -v)], 0.19) if v else ([(u, v)], 0.22)
        else:
            u, v = direction(start + k * 0.19)
            spots, share = [(0.44 * u, 0.44 * v)], 0.27
        shapes = [blob(_CENTRE[0] + radius * (u * c - v * s), _CENTRE[1] + radius * (u * s + v * c), radius * share,
                       0.85, turn, 0.0 if facts.asymmetry == "none" else 0.3, rng) for u, v in spots]  # fmt: skip
        mask = canvas.mask(*shapes, blur=0.012 + 0.05 * radius)
        canvas.paste(_INK[name], ImageChops.multiply(mask, noise(rng, 40, canvas.shape, 185, 255)))
        boxes[name] = [bounds(points) for points in shapes]
    return boxes


def _structure(canvas: Canvas, facts: DermFacts, radius: float, rng: np.random.Generator) -> None:
    """Pigment network or globules over the lesion; a homogeneous lesion has neither."""
    reach = radius * 1.1
    if facts.structure == "homogeneous":
        return
    layer = Image.new("L", canvas.shape, 0)
    if facts.structure == "reticular":
        _network(layer, canvas, reach, rng)
    else:
        _globules(layer, canvas, reach, rng)
    layer = ImageChops.multiply(layer, noise(rng, 9, canvas.shape, 120, 255))
    dark = canvas.image.point([int(v * 0.48) for v in range(256)] * 3)
    canvas.paste(dark, layer)


def _network(layer: Image.Image, canvas: Canvas, reach: float, rng: np.random.Generator) -> None:
    """Two families of wavy lines that enclose a honeycomb of paler holes."""
    pen = ImageDraw.Draw(layer)
    pitch = 0.042
    count = int(reach / pitch) + 1
    t = (np.arange(28) / 27 * 2 - 1) * reach
    lean = float(rng.random())
    for family in (0.0, 0.27):
        c, s = direction(lean + family)
        for k in range(-count, count + 1):
            wave = 0.006 * sin(t / 0.075 + 0.5 * (k % 2)) + between(rng, -0.004, 0.004, len(t))
            u, v = t, k * pitch + wave
            points = np.stack([_CENTRE[0] + u * c - v * s, _CENTRE[1] + u * s + v * c], axis=1)
            pen.line(canvas.pixels(points), 215, max(1, canvas.length(0.0075)))


def _globules(layer: Image.Image, canvas: Canvas, reach: float, rng: np.random.Generator) -> None:
    pen = ImageDraw.Draw(layer)
    pitch = 0.054
    n = 2 * int(reach / pitch) + 1
    i, j = np.divmod(np.arange(n * n), n)
    xy = np.stack([(j - n // 2 + 0.5 * (i % 2)) * pitch, (i - n // 2) * pitch * 0.9], axis=1)
    xy = xy + between(rng, -0.26, 0.26, xy.shape) * pitch + np.asarray(_CENTRE)
    size = between(rng, 0.011, 0.018, len(xy))
    corners = np.rint(np.concatenate([xy - size[:, None], xy + size[:, None]], axis=1) * canvas.width)
    for box in corners.astype(np.int64).tolist():
        pen.ellipse(box, 235)


def _hairs(canvas: Canvas, rng: np.random.Generator) -> None:
    t = np.arange(15) / 14
    for _ in range(int(rng.integers(0, 5))):
        a, b, bend, kind, where = rng.random(5).tolist()
        (x, y), (dx, dy) = direction(where), direction(a)
        x, y, dx, dy = 0.5 + 0.5 * x, 0.5 + 0.5 * y, (0.3 + 0.45 * b) * dx, (0.3 + 0.45 * b) * dy
        swing = (bend - 0.5) * 1.6 * t * (1 - t)
        points = np.stack([x + dx * (t - 0.5) - dy * swing, y + dy * (t - 0.5) + dx * swing], axis=1)
        ink = mixed((46, 32, 26), (120, 88, 64), kind)
        canvas.line(points, ink, 0.004)
        canvas.line(points[:8], ink, 0.006)


def _vignette(canvas: Canvas) -> None:
    """The dark corners of the dermatoscope's round window."""
    window = canvas.mask(blob(0.5, 0.5, 0.625, points=64), blur=0.03)
    canvas.multiply(ImageChops.lighter(window, Image.new("L", canvas.shape, 26)))


def _ruler(canvas: Canvas) -> Box:
    """Seven millimetres of scale at the lower edge."""
    ink, step = (24, 22, 24), 1 / FIELD_MM
    x0, y = 0.5 - 3.5 * step, 0.955
    canvas.line(np.array([[x0, y], [x0 + 7 * step, y]]), ink, 0.006)
    for k in range(8):
        tall = 0.034 if k in (0, 5) else 0.022
        canvas.line(np.array([[x0 + k * step, y - tall], [x0 + k * step, y]]), ink, 0.006)
    return bounds(np.array([[x0, y - 0.034], [x0 + 7 * step, y]]), 0.004)
