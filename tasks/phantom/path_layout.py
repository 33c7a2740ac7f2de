"""Where the nuclei, glands and lumens of a phantom histology field lie.

>>> from tasks.phantom.canvas import stream
>>> from tasks.phantom.facts import sample_facts
>>> facts = sample_facts("path", stream(1, "facts"))
>>> len(place(facts, stream(1, "layout")).xy) == facts.nucleus_count
True

Only geometry; `draw_path` paints it. Needs numpy and `canvas`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.phantom.canvas import Floats, between, blob, cos, direction, ring, sin, smoothstep
from tasks.phantom.facts import PathFacts

DIAMETER = {"few": 0.078, "moderate": 0.074, "many": 0.060}
"""Typical nuclear diameter by cellularity, as a share of the field's width."""

_GLANDS: dict[str, tuple[tuple[float, float], ...]] = {
    "few": ((0.50, 0.50),),
    "moderate": ((0.28, 0.29), (0.74, 0.36), (0.42, 0.75)),
    "many": ((0.22, 0.23), (0.77, 0.20), (0.50, 0.52), (0.21, 0.79), (0.79, 0.80)),
}
_NEST = {"few": (0.25, 3, 0.11), "moderate": (0.36, 5, 0.195), "many": (0.475, 8, 0.295)}
"""Cribriform nest: its radius, number of punched-out lumens, radius of the circle they lie on."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Nuclei (centre, diameter, direction in turns), gland outlines, lumens, and walls between gland cells."""

    xy: Floats
    diameter: Floats
    turn: Floats
    glands: list[Floats]
    lumens: list[Floats]
    walls: list[Floats]


def place(facts: PathFacts, rng: np.random.Generator) -> Layout:
    """Lay out one field as `glands`, `cellularity` and `size_variation` say."""
    diameter = _diameters(facts, rng)
    if facts.glands == "well formed":
        return _well_formed(facts, diameter, rng)
    if facts.glands == "cribriform":
        return _cribriform(facts, diameter, rng)
    xy = _scatter(rng, facts.nucleus_count, (0.5, 0.5), 0.0, np.zeros((0, 2)), np.zeros(0))
    return Layout(xy, diameter, np.asarray(rng.random(len(xy))), [], [], [])


def clear(points: Floats, others: Floats, gaps: Floats) -> NDArray[np.bool_]:
    """Which points lie farther from every other than that one's gap, shape (n,)."""
    dx, dy = points[:, None, 0] - others[None, :, 0], points[:, None, 1] - others[None, :, 1]
    free: NDArray[np.bool_] = ~np.any(dx * dx + dy * dy < gaps * gaps, axis=1)
    return free


def middle(contour: Floats) -> Floats:
    """The centre of a contour's bounding box, shape (2,)."""
    centre: Floats = (contour.min(axis=0) + contour.max(axis=0)) / 2
    return centre


def _diameters(facts: PathFacts, rng: np.random.Generator) -> Floats:
    """Diameters whose largest to smallest ratio is exactly the fact, with more small and large ones than middling."""
    ratio = facts.size_ratio_x10 / 10
    smallest = DIAMETER[facts.cellularity] * 2 / (1 + ratio) * (1.12 if ratio > 2 else 1.0)
    steps = np.arange(facts.nucleus_count) / (facts.nucleus_count - 1)
    share = smoothstep(steps * 1.5 - 0.4)
    return smallest * (1 + (ratio - 1) * share)[rng.permutation(facts.nucleus_count)]


def _cribriform(facts: PathFacts, diameter: Floats, rng: np.random.Generator) -> Layout:
    """One large nest whose sheet of cells is punched out by several small round lumens."""
    radius, count, reach = _NEST[facts.cellularity]
    slack = max(0.0, 0.47 - radius) * 0.7
    cx, cy = (0.5 + between(rng, -slack, slack, 2)).tolist()
    nest = blob(cx, cy, radius, 0.97, 0.0, 0.05, rng, 40)
    angle = ring(count - (count > 6)) + float(rng.random())
    centres = np.stack([cx + reach * cos(angle), cy + reach * sin(angle)], axis=1)
    if count > 6:
        centres = np.concatenate([centres, [[cx, cy]]])
    holes = between(rng, 0.042, 0.056, count)
    lumens = [blob(x, y, r, 0.85, float(rng.random()), 0.06, rng)
              for (x, y), r in zip(centres.tolist(), holes.tolist(), strict=True)]  # fmt: skip
    gaps = holes + 0.3 * DIAMETER[facts.cellularity]
    xy = _scatter(rng, facts.nucleus_count, (cx, cy), radius - 0.03, centres, gaps)
    return Layout(xy, diameter, np.asarray(rng.random(len(xy))), [nest], lumens, [])


def _scatter(rng: np.random.Generator, count: int, centre: tuple[float, float], radius: float, holes: Floats,
             gaps: Floats) -> Floats:  # fmt: skip
    """`count` points of a jittered hexagonal grid: inside the circle (radius 0: the whole field), off the holes."""
    pitch = 0.125
    while True:
        n = int(1.15 / pitch) + 2
        i, j = np.divmod(np.arange(n * n), n)
        grid = np.stack([(j + 0.5 * (i % 2)) * pitch, i * pitch * 0.875], axis=1) - 0.06
        grid = grid + between(rng, -0.17, 0.17, (n * n, 2)) * pitch
        off = grid - np.asarray(centre)
        keep = np.all((grid > 0.04) & (grid < 0.96), axis=1)
        if radius:
            keep &= off[:, 0] * off[:, 0] + off[:, 1] * off[:, 1] < radius * radius
        if len(holes):
            keep &= clear(grid, holes, gaps)
        kept = grid[keep]
        if len(kept) >= count:
            return kept[rng.permutation(len(kept))[:count]]
        pitch *= 0.94


def _well_formed(facts: PathFacts, diameter: Floats, rng: np.random.Generator) -> Layout:
    """Separate glands: one ring of nuclei near the base of the cells, apical cytoplasm, one open lumen."""
    typical = DIAMETER[facts.cellularity]
    centres = np.asarray(_GLANDS[facts.cellularity])
    centres = centres + between(rng, -0.02, 0.02, centres.shape)
    if rng.random() < 0.5:
        centres = centres[:, ::-1]
    if rng.random() < 0.5:
        centres = np.stack([1 - centres[:, 0], centres[:, 1]], axis=1)
    xy, turns = np.zeros((facts.nucleus_count, 2)), np.zeros(facts.nucleus_count)
    glands: list[Floats] = []
    lumens: list[Floats] = []
    walls: list[Floats] = []
    shares = np.array_split(np.arange(facts.nucleus_count), len(centres))
    for (x, y), members in zip(centres.tolist(), shares, strict=True):
        step = diameter[members] * 0.35 + typical * 0.70
        arc = np.add.accumulate(step)
        radius = max(0.105, float(arc[-1]) / 6.2832)
        angle = arc / arc[-1] + float(rng.random())
        squeeze = float(between(rng, 0.84, 0.98))
        out = radius + between(rng, -0.008, 0.008, len(members))
        xy[members] = np.stack([x + out * cos(angle), y + out * squeeze * sin(angle)], axis=1)
        turns[members] = angle
        glands.append(blob(x, y, radius + 0.72 * typical, squeeze, 0.0, 0.02, rng, 36))
        lumens.append(blob(x, y, max(0.05, radius - 0.95 * typical), squeeze, 0.0, 0.05, rng, 30))
        near, far = radius - 0.85 * typical, radius + 0.68 * typical
        for between_cells in (angle - step / arc[-1] / 2).tolist():
            c, s = direction(between_cells)
            walls.append(np.array([[x + near * c, y + near * squeeze * s], [x + far * c, y + far * squeeze * s]]))
    mixed = rng.permutation(facts.nucleus_count)
    return Layout(xy[mixed], diameter[mixed], turns[mixed], glands, lumens, walls)
