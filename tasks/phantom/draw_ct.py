"""Phantom chest CT: one axial slice at the level of the heart, wide window, patient's right at the viewer's left.

>>> from tasks.phantom.facts import sample_facts
>>> facts = sample_facts("ct", stream(1, "facts"))
>>> sorted(draw_ct(facts, seed=1, size=64).regions)[:3]
['aorta', 'effusion', 'ground_glass']

Regions: "nodule" (with its spicules), "effusion" (a box a side), "ground_glass" (three patches a side; the right
side comes first in both), "right_lung", "left_lung", "heart", "aorta", "vertebra". One unit of length stands for
`FIELD_MM` millimetres.
Needs numpy and Pillow through `canvas` only.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops

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
    curve,
    direction,
    noise,
    ring,
    sin,
    smoothstep,
    stream,
)
from tasks.phantom.facts import SIDES, CtFacts

FIELD_MM = 300
"""Width of the field of view in millimetres."""

_LUNGS: dict[str, list[tuple[float, float]]] = {
    "right": [(0.43, 0.31), (0.36, 0.265), (0.27, 0.26), (0.18, 0.33), (0.125, 0.45), (0.12, 0.57), (0.16, 0.69),
              (0.24, 0.765), (0.33, 0.78), (0.41, 0.735), (0.425, 0.66), (0.40, 0.57), (0.37, 0.48), (0.40, 0.38)],
    "left": [(0.57, 0.31), (0.63, 0.265), (0.72, 0.26), (0.81, 0.33), (0.87, 0.45), (0.88, 0.57), (0.845, 0.69),
             (0.765, 0.765), (0.67, 0.78), (0.605, 0.735), (0.605, 0.67), (0.655, 0.605), (0.71, 0.545),
             (0.69, 0.44), (0.61, 0.375)],
}  # fmt: skip
_HILUM = {"right": (0.40, 0.53), "left": (0.64, 0.56)}
_SPOTS = {
    "right": ((0.255, 0.405), (0.225, 0.49), (0.275, 0.53)),
    "left": ((0.765, 0.385), (0.785, 0.46), (0.79, 0.51)),
}
_HAZE = {"right": ((0.25, 0.36), (0.20, 0.58), (0.30, 0.66)), "left": ((0.74, 0.34), (0.80, 0.58), (0.72, 0.66))}


def draw_ct(facts: CtFacts, seed: int, size: int) -> Drawn:
    """Draw one slice; see the module docstring for the regions."""
    canvas = Canvas(size, _grey(5))
    shape = stream(seed, "ct shape")
    lungs = {side: _lung(side, shape) for side in SIDES}
    _body(canvas, shape)
    masks = {side: canvas.mask(lung) for side, lung in lungs.items()}
    looks = stream(seed, "ct looks")
    for side, lung in lungs.items():
        canvas.polygon(lung, _grey(30))
        canvas.paste(_grey(52), ImageChops.multiply(masks[side], noise(looks, 24, canvas.shape, 0, 150)))
    haze = _ground_glass(canvas, facts, masks, lungs, stream(seed, "ct haze"))
    for side, lung in lungs.items():
        _vessels(canvas, side, lung, stream(seed, "ct vessels " + side))
    fluid = _effusion(canvas, facts, masks, lungs, stream(seed, "ct effusion"))
    nodule = _nodule(canvas, facts, stream(seed, "ct nodule"))
    organs = _mediastinum(canvas, stream(seed, "ct mediastinum"))
    _bones(canvas, stream(seed, "ct bones"))
    canvas.multiply(noise(looks, 80, canvas.shape, 226, 255))
    regions = {
        "nodule": nodule, "effusion": fluid, "ground_glass": haze,
        "right_lung": [bounds(lungs["right"])], "left_lung": [bounds(lungs["left"])], **organs,
    }  # fmt: skip
    return Drawn(canvas.finish(looks, 7), regions)


def sides_of(value: str) -> tuple[str, ...]:
    """The sides that a laterality value names: none, one or both."""
    return SIDES if value == "bilateral" else tuple(side for side in SIDES if side == value)


def _grey(level: int) -> RGB:
    return (level, level, level)


def _lung(side: str, rng: np.random.Generator) -> Floats:
    points = np.asarray(_LUNGS[side])
    points = points + between(rng, -0.006, 0.006, points.shape)
    return curve([(x, y) for x, y in points.tolist()], 6, closed=True)


def _oval(x: float, y: float, half_width: float, half_height: float, square: float = 0.0) -> Floats:
    """An ellipse, or with `square` > 0 a rounder-shouldered one, shape (60, 2)."""
    angle = ring(60)
    swell = 1 + square * (1 - cos(4 * angle)) / 2
    return np.stack([x + half_width * swell * cos(angle), y + half_height * swell * sin(angle)], axis=1)


def _body(canvas: Canvas, rng: np.random.Generator) -> None:
    """Skin, fat, muscle and the table below."""
    for y, level in ((0.952, 96), (0.968, 60)):
        x = np.arange(25) / 24
        canvas.line(np.stack([x, y - 0.055 * (2 * x - 1) * (2 * x - 1)], axis=1), _grey(level), 0.005)
    fat = float(between(rng, 0.018, 0.030))
    canvas.polygon(_oval(0.5, 0.525, 0.476, 0.372, 0.045), _grey(150))
    canvas.polygon(_oval(0.5, 0.525, 0.469, 0.365, 0.045), _grey(92))
    canvas.polygon(_oval(0.5, 0.525, 0.469 - fat, 0.365 - fat, 0.04), _grey(146))
    for way in (-1, 1):
        canvas.polygon(blob(0.5 + way * 0.25, 0.838, 0.10, 0.14, way * -0.055), _grey(96))
        canvas.polygon(blob(0.5 + way * 0.26, 0.222, 0.11, 0.10, way * 0.062), _grey(104))


def _bones(canvas: Canvas, rng: np.random.Generator) -> None:
    """Ribs round the lungs, sternum; the vertebra belongs to the mediastinum."""
    start = float(between(rng, -0.008, 0.008))
    for way in (-1, 1):
        for k, turn in enumerate((-0.185, -0.105, -0.03, 0.045, 0.125, 0.195)):
            c, s = direction(turn + start)
            x, y = 0.5 + way * 0.415 * c, 0.522 + 0.304 * s
            tangent = np.array([-way * 0.415 * s, 0.304 * c])
            tangent = tangent / math.sqrt(tangent[0] * tangent[0] + tangent[1] * tangent[1])
            half = 0.030 + 0.014 * (k % 2) + float(between(rng, 0, 0.008))
            across = np.array([tangent[1], -tangent[0]])
            t = (np.arange(9) / 4 - 1)[:, None]
            middle = np.array([x, y]) + half * t * tangent + way * 0.12 * half * (t * t) * -across
            canvas.line(middle, _grey(228), 0.021)
            canvas.line(middle[2:-2], _grey(188), 0.008)
    canvas.polygon(_oval(0.5, 0.212, 0.052, 0.018), _grey(222))
    canvas.polygon(_oval(0.5, 0.212, 0.040, 0.009), _grey(172))


def _mediastinum(canvas: Canvas, rng: np.random.Generator) -> dict[str, list[Box]]:
    """Heart with contrast-filled chambers, descending aorta left of the spine, oesophagus, bronchi, vertebra."""
    heart = curve([(0.46, 0.335), (0.55, 0.325), (0.635, 0.37), (0.685, 0.45), (0.70, 0.535), (0.655, 0.60),
                   (0.57, 0.625), (0.47, 0.615), (0.41, 0.565), (0.385, 0.48), (0.405, 0.39)], closed=True)  # fmt: skip
    canvas.polygon(_oval(0.505, 0.63, 0.085, 0.06), _grey(122))
    canvas.polygon(_oval(0.5, 0.30, 0.07, 0.05), _grey(112))
    canvas.polygon(heart, _grey(110))
    middle = np.array([0.54, 0.48])
    canvas.polygon(middle + (heart - middle) * 0.955, _grey(152))
    chambers = (
        (0.600, 0.475, 0.075, 0.55, 0.13, 194), (0.505, 0.395, 0.070, 0.55, 0.06, 184),
        (0.440, 0.480, 0.045, 0.80, 0.25, 180), (0.520, 0.565, 0.070, 0.50, 0.02, 190),
        (0.500, 0.475, 0.034, 0.95, 0.0, 196),
    )  # fmt: skip
    for x, y, radius, squeeze, turn, level in chambers:
        dx, dy = between(rng, -0.006, 0.006, 2).tolist()
        canvas.polygon(blob(x + dx, y + dy, radius, squeeze, turn, 0.06, rng, 30), _grey(level))
    aorta = blob(0.572, 0.675, float(between(rng, 0.036, 0.042)), 0.97)
    canvas.polygon(aorta, _grey(206))
    canvas.polygon(blob(0.513, 0.648, 0.020, 0.7), _grey(140))
    canvas.dots(np.array([[0.513, 0.648]]), [0.005], [_grey(40)])
    for x, y in ((0.405, 0.575), (0.625, 0.622)):
        canvas.polygon(blob(x, y, 0.026, 0.85), _grey(160))
        canvas.polygon(blob(x, y, 0.013, 0.9), _grey(12))
    spine = blob(0.5, 0.745, 0.062, 0.86, 0.0, 0.03, rng)
    arch = curve([(0.445, 0.77), (0.395, 0.80), (0.37, 0.825), (0.40, 0.835), (0.455, 0.83), (0.485, 0.85),
                  (0.49, 0.888), (0.51, 0.888), (0.515, 0.85), (0.545, 0.83), (0.60, 0.835), (0.63, 0.825),
                  (0.605, 0.80), (0.555, 0.77)], 4, closed=True)  # fmt: skip
    canvas.polygon(arch, _grey(220))
    canvas.polygon(spine, _grey(232))
    canvas.polygon(np.array([0.5, 0.745]) + (spine - np.array([0.5, 0.745])) * 0.84, _grey(196))
    canvas.polygon(_oval(0.5, 0.808, 0.029, 0.022), _grey(118))
    return {"heart": [bounds(heart)], "aorta": [bounds(aorta)], "vertebra": [bounds(np.concatenate([spine, arch]))]}


def _vessels(canvas: Canvas, side: str, lung: Floats, rng: np.random.Generator) -> None:
    """Pulmonary vessels that leave the hilum and taper towards the pleura."""
    hilum = np.asarray(_HILUM[side])
    ends = lung[rng.permutation(len(lung))[:13]]
    n = len(ends)
    t = (np.arange(7) / 6)[None, :, None]
    reach = (ends - hilum) * between(rng, 0.62, 0.9, (n, 1))
    across = np.stack([-reach[:, 1], reach[:, 0]], axis=1)
    bend = across * between(rng, -0.16, 0.16, (n, 1))
    paths = hilum + reach[:, None, :] * t + bend[:, None, :] * (t * (1 - t) * 4)
    for start in (2, 4):
        twig = reach * 0.25 + across * between(rng, -0.31, 0.31, (n, 1))
        canvas.lines(paths[:, start, None, :] + twig[:, None, :] * t[:, :4:3], [_grey(112)] * n, [0.004] * n)
    for k, width in enumerate((0.013, 0.009, 0.006)):
        canvas.lines(paths[:, 2 * k : 2 * k + 3], [_grey(150 - 14 * k)] * n, [width] * n)


def _inside(canvas: Canvas, mask: Image.Image) -> list[Box]:
    """The box of what is white in a canvas-sized mask."""
    box = mask.point([0] * 128 + [255] * 128).getbbox()
    if box is None:
        return []
    x0, y0, x1, y1 = (value / canvas.width for value in box)
    return [(x0, y0, x1, y1)]


def _ground_glass(canvas: Canvas, facts: CtFacts, masks: dict[str, Image.Image], lungs: dict[str, Floats],
                  rng: np.random.Generator) -> list[Box]:  # fmt: skip
    """Hazy patches that raise lung density but leave vessels visible (they are drawn afterwards)."""
    boxes: list[Box] = []
    for side in sides_of(facts.ground_glass):
        centres = np.asarray(_HAZE[side]) + between(rng, -0.015, 0.015, (3, 2))
        patches = [blob(x, y, r, 0.8, float(rng.random()), 0.2, rng)
                   for (x, y), r in zip(centres.tolist(), (0.085, 0.10, 0.10), strict=True)]  # fmt: skip
        texture = noise(rng, 40, canvas.shape, 150, 255)
        where = ImageChops.multiply(canvas.mask(*patches, blur=0.035), masks[side])
        canvas.paste(_grey(112), ImageChops.multiply(where, texture))
        low, high = lungs[side].min(axis=0), lungs[side].max(axis=0)
        boxes += [bounds(np.minimum(np.maximum(patch, low), high)) for patch in patches]
    return boxes


def _nodule(canvas: Canvas, facts: CtFacts, rng: np.random.Generator) -> list[Box]:
    if facts.nodule_side == "none":
        return []
    spots = _SPOTS[facts.nodule_side]
    x, y = (np.asarray(spots[int(rng.integers(len(spots)))]) + between(rng, -0.012, 0.012, 2)).tolist()
    radius = facts.nodule_mm / FIELD_MM / 2
    body = blob(x, y, radius, float(between(rng, 0.9, 1.0)), float(rng.random()), 0.0, None, 40)
    outline = body
    if facts.margin == "spiculated":
        count = 13 if radius > 0.02 else 9
        angle = ring(count) + between(rng, -0.02, 0.02, count)
        length = radius * 0.6 + between(rng, 0.016, 0.030, count)
        way = np.stack([cos(angle), sin(angle)], axis=1)
        foot = np.array([x, y]) + way * (radius * 0.8)
        tip = np.array([x, y]) + way * (radius + length)[:, None]
        thick = 0.014 if radius > 0.02 else 0.010
        for share, width in ((0.5, thick), (0.75, thick * 0.6), (1.0, 0.004)):
            ends = foot + (tip - foot) * share
            canvas.lines(np.stack([foot, ends], axis=1), [_grey(140)] * count, [width] * count)
        body = np.array([x, y]) + (body - np.array([x, y])) * between(rng, 0.92, 1.1, (40, 1))
        outline = np.concatenate([body, tip])
    canvas.polygon(body, _grey(196))
    canvas.polygon(np.array([x, y]) + (body - np.array([x, y])) * 0.72, _grey(208))
    return [bounds(outline, 0.004)]


def _effusion(canvas: Canvas, facts: CtFacts, masks: dict[str, Image.Image], lungs: dict[str, Floats],
              rng: np.random.Generator) -> list[Box]:  # fmt: skip
    """A crescent of fluid in the dependent (posterior) pleural space, deepest behind, thinning along the side."""
    boxes: list[Box] = []
    for side in sides_of(facts.effusion):
        lung = lungs[side]
        deep, wide = float(between(rng, 0.09, 0.13)), 0.035 if side == "right" else -0.035
        share = smoothstep((lung[:, 1:] - 0.42) / 0.34)
        aerated = lung + share * np.array([wide, -deep])
        crescent = ImageChops.subtract(masks[side], canvas.mask(aerated))
        canvas.paste(_grey(124), crescent)
        canvas.line(aerated[len(aerated) // 3 : len(aerated) * 3 // 4], _grey(150), 0.004)
        boxes += _inside(canvas, crescent)
    return boxes
