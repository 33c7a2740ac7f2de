"""Phantom histology: H&E or brown immunostain, nuclei, mitoses, glands and lymphocytes as the facts say.

>>> from tasks.phantom.facts import sample_facts
>>> facts = sample_facts("path", stream(1, "facts"))
>>> len(draw_path(facts, seed=1, size=64).regions["nuclei"]) == facts.nucleus_count
True

Regions: "nuclei" (all that are counted, mitoses first), "mitoses", "glands", "lumens", "lymphocytes".
Needs numpy and Pillow through `canvas` only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    cos,
    direction,
    mixed,
    noise,
    ring,
    scaled,
    sin,
    stream,
)
from tasks.phantom.facts import PathFacts
from tasks.phantom.path_layout import Layout, clear, middle, place


@dataclass(frozen=True, slots=True)
class _Palette:
    ground: RGB
    fibre: RGB
    cytoplasm: RGB
    membrane: RGB
    lumen: RGB
    nucleus: RGB
    rim: RGB
    mitosis: RGB
    lymphocyte: RGB


_HE = _Palette(ground=(238, 186, 208), fibre=(222, 148, 182), cytoplasm=(211, 150, 196), membrane=(188, 118, 172),
               lumen=(250, 246, 248), nucleus=(126, 82, 160), rim=(84, 44, 120), mitosis=(44, 16, 74),
               lymphocyte=(58, 32, 100))  # fmt: skip
_BLUE = _Palette(ground=(236, 234, 236), fibre=(204, 206, 222), cytoplasm=(220, 222, 234), membrane=(196, 200, 220),
                 lumen=(250, 250, 250), nucleus=(130, 150, 200), rim=(84, 104, 166), mitosis=(46, 58, 120),
                 lymphocyte=(62, 76, 140))  # fmt: skip
_BROWN: RGB = (136, 78, 34)
_DARK_BROWN: RGB = (92, 46, 16)


def palette(facts: PathFacts) -> _Palette:
    """Colours of the stain: haematoxylin and eosin, or blue counterstain with brown where the pattern says."""
    if facts.stain == "H&E":
        return _HE
    changed = {name: getattr(_BLUE, name) for name in _Palette.__slots__}
    if facts.pattern == "nuclear":
        changed |= {"nucleus": _BROWN, "rim": _DARK_BROWN, "mitosis": (66, 30, 10)}
    elif facts.pattern == "membranous":
        changed |= {"membrane": (116, 62, 24)}
    elif facts.pattern == "cytoplasmic":
        changed |= {"cytoplasm": (190, 132, 80), "membrane": (168, 108, 60)}
    return _Palette(**changed)


def draw_path(facts: PathFacts, seed: int, size: int) -> Drawn:
    """Draw one field; see the module docstring for the regions."""
    layout = place(facts, stream(seed, "path layout"))
    ink = palette(facts)
    canvas = Canvas(size, ink.ground)
    _stroma(canvas, ink, stream(seed, "path stroma"))
    _cells(canvas, facts, ink, layout, stream(seed, "path cells"))
    mitotic = facts.mitoses
    _nuclei(canvas, facts, ink, layout, mitotic, stream(seed, "path nuclei"))
    _mitoses(canvas, ink, layout, mitotic, stream(seed, "path mitoses"))
    immune = _lymphocytes(canvas, facts, ink, layout, stream(seed, "path lymphocytes"))
    looks = stream(seed, "path looks")
    canvas.multiply(noise(looks, 128, canvas.shape, 226, 255))
    reach = (layout.diameter * 0.62).tolist()
    nuclei = [around(x, y, r) for (x, y), r in zip(layout.xy.tolist(), reach, strict=True)]
    regions = {
        "nuclei": nuclei, "mitoses": nuclei[:mitotic], "glands": [bounds(g) for g in layout.glands],
        "lumens": [bounds(g) for g in layout.lumens], "lymphocytes": immune,
    }  # fmt: skip
    return Drawn(canvas.finish(looks, 5), regions)


def _stroma(canvas: Canvas, ink: _Palette, rng: np.random.Generator) -> None:
    canvas.paste(mixed(ink.ground, ink.fibre, 0.8), noise(rng, 9, canvas.shape, 0, 150))
    drift, start = float(rng.random()), rng.random((30, 3))
    a, b, c = start[:, :1], start[:, 1].tolist(), start[:, 2:]
    t = (np.arange(13) / 12)[None, :]
    y = a * 1.6 - 0.3 + (drift - 0.5) * 0.7 * t + 0.025 * sin(1.3 * t + c) + 0.01 * sin(3.1 * t + a)
    paths = np.stack([np.broadcast_to(-0.1 + 1.2 * t, y.shape), y], axis=2)
    pale = mixed(ink.fibre, (255, 248, 252), 0.6)
    canvas.lines(paths, [pale if wide > 0.6 else ink.fibre for wide in b], [0.004 + 0.006 * wide for wide in b])


def _cells(canvas: Canvas, facts: PathFacts, ink: _Palette, layout: Layout, rng: np.random.Generator) -> None:
    """Cytoplasm and cell borders; chicken-wire brown for a membranous stain."""
    membranous = facts.pattern == "membranous"
    wall = 0.016 if membranous else 0.005
    shade = rng.random(len(layout.xy)).tolist()
    for gland in layout.glands:
        canvas.polygon(gland, ink.membrane)
        centre = middle(gland)
        canvas.polygon(centre + (gland - centre) * (1 - wall * 3), ink.cytoplasm)
    if not layout.walls:
        reach = layout.diameter / 2 + (0.034 if facts.cellularity != "many" else 0.024)
        outline = _contours(rng, layout, reach, 0.10, 0.9)
        canvas.polygons(outline, [ink.membrane] * len(outline))
        centre = layout.xy[:, None, :]
        body = centre + (outline - centre) * (1 - wall / reach)[:, None, None]
        canvas.polygons(body, [mixed(scaled(ink.cytoplasm, 0.94), scaled(ink.cytoplasm, 1.06), s) for s in shade])
    for line in layout.walls:
        canvas.line(line, ink.membrane, wall * 0.8)
    for lumen in layout.lumens:
        canvas.polygon(lumen, ink.membrane)
        centre = middle(lumen)
        canvas.polygon(centre + (lumen - centre) * (0.82 if membranous else 0.93), ink.lumen)


def _contours(rng: np.random.Generator, layout: Layout, radius: Floats, wobble: float, squeeze: float) -> Floats:
    """One irregular oval a nucleus, shape (n, 14, 2)."""
    n = len(layout.xy)
    angle = ring(14)[None, :]
    phase, amount = rng.random((2, n, 1)), between(rng, 0.4, 1.0, (2, n, 1)) * wobble
    scale = 1 + amount[0] * cos(2 * angle + phase[0]) + 0.6 * amount[1] * cos(3 * angle + phase[1])
    flat = between(rng, squeeze - 0.1, squeeze + 0.06, (n, 1))
    u, v = radius[:, None] * scale * cos(angle), radius[:, None] * scale * flat * sin(angle)
    c, s = cos(layout.turn)[:, None], sin(layout.turn)[:, None]
    ovals: Floats = layout.xy[:, None, :] + np.stack([u * c - v * s, u * s + v * c], axis=2)
    return ovals


def _nuclei(canvas: Canvas, facts: PathFacts, ink: _Palette, layout: Layout, skip: int,
            rng: np.random.Generator) -> None:  # fmt: skip
    wobble = {"mild": 0.03, "moderate": 0.07, "marked": 0.14}[facts.size_variation]
    radius = layout.diameter / 2
    outer = _contours(rng, layout, radius, wobble, 0.86)
    centre = layout.xy[:, None, :]
    tone = between(rng, 0.92, 1.08, len(outer)).tolist()
    vesicular = facts.chromatin.startswith("vesicular")
    body = mixed(ink.nucleus, (255, 250, 255), 0.42) if vesicular else ink.nucleus
    if facts.chromatin == "coarsely clumped":
        body = mixed(ink.nucleus, ink.rim, 0.25)
    inner = centre + (outer - centre) * (0.80 if vesicular else 0.86)
    canvas.polygons(outer[skip:], [scaled(ink.rim, t) for t in tone[skip:]])
    canvas.polygons(inner[skip:], [scaled(body, t) for t in tone[skip:]])
    per = {"fine": 5, "coarsely clumped": 6}.get(facts.chromatin, 2)
    angle = np.asarray(rng.random((len(outer), per)))
    reach = np.sqrt(rng.random((len(outer), per))) * (0.30 if vesicular else 0.62)
    reach = reach * radius[:, None]
    spots = layout.xy[:, None, :] + np.stack([reach * cos(angle), reach * 0.85 * sin(angle)], axis=2)
    if vesicular:
        spots, share, fill = spots[:, :1], 0.30, mixed(ink.rim, (60, 0, 60) if facts.stain == "H&E" else ink.rim, 0.6)
    elif facts.chromatin == "fine":
        share, fill = 0.09, mixed(ink.nucleus, ink.rim, 0.5)
    else:
        share, fill = 0.22, scaled(ink.rim, 0.62)
    if facts.chromatin == "fine" and canvas.width < 300:
        return
    sizes = np.repeat(radius[skip:] * share, spots.shape[1])
    canvas.dots(spots[skip:].reshape(-1, 2), sizes, [fill] * len(sizes))


def _mitoses(canvas: Canvas, ink: _Palette, layout: Layout, count: int, rng: np.random.Generator) -> None:
    """Metaphase plates and anaphases: dark ragged bars in a cleared cell without a nuclear membrane."""
    clear = mixed(ink.cytoplasm, (255, 255, 255), 0.55)
    for i in range(count):
        x, y = layout.xy[i].tolist()
        radius = max(float(layout.diameter[i]) * 0.62, 0.034)
        canvas.polygon(blob(x, y, radius * 1.25, 0.95, 0.0, 0.04, rng), clear)
        turn = float(rng.random())
        c, s = direction(turn)
        split = 0.36 * radius if rng.random() < 0.4 else 0.0
        for way in (-1, 1) if split else (0,):
            cx, cy = x - way * split * s, y + way * split * c
            along, across = np.array([c, s]) * radius * 0.88, np.array([-s, c]) * radius
            middle_of_bar, thick = np.array([cx, cy]), 0.44 if not split else 0.30
            canvas.line(np.stack([middle_of_bar - along, middle_of_bar + along]), ink.mitosis, radius * thick)
            at, off = between(rng, -0.95, 0.95, (7, 1)), between(rng, -0.5, 0.5, (7, 1)) * thick
            rag = between(rng, 0.09, 0.17, 7) * radius
            canvas.dots(middle_of_bar + at * along + off * across, rag, [ink.mitosis] * 7)


def _lymphocytes(canvas: Canvas, facts: PathFacts, ink: _Palette, layout: Layout,
                 rng: np.random.Generator) -> list[Box]:  # fmt: skip
    """Small round dark cells, in aggregates when dense; never inside a lumen."""
    if not facts.lymphocyte_count:
        return []
    dense = facts.inflammation == "dense"
    pitch, radius = 0.052, 0.019
    n = int(1 / pitch)
    i, j = np.divmod(np.arange(n * n), n)
    grid = np.stack([(j + 0.25 + 0.5 * (i % 2)) * pitch, (i + 0.5) * pitch], axis=1)
    grid = grid + between(rng, -0.34, 0.34, grid.shape) * pitch
    holes = np.concatenate([layout.xy, *(middle(lumen)[None] for lumen in layout.lumens)])
    wide = [float(np.max(np.abs(lumen - middle(lumen)))) + radius for lumen in layout.lumens]
    for overlap in (1.0, 0.85, 0.7, 0.5, 0.3):
        gaps = np.concatenate([(layout.diameter / 2 + radius) * overlap, wide])
        free = grid[clear(grid, holes, gaps)]
        if len(free) >= facts.lymphocyte_count * (1.5 if not dense else 1.0):
            break
    order = rng.permutation(len(free))
    if dense:
        foci = between(rng, 0.15, 0.85, (2, 2))
        off = free[:, None, :] - foci[None, :, :]
        order = np.argsort(np.min(off[..., 0] * off[..., 0] + off[..., 1] * off[..., 1], axis=1), kind="stable")
    xy = free[order[: facts.lymphocyte_count]]
    sizes = between(rng, 0.92, 1.08, len(xy)) * radius
    halo = mixed(ink.ground, (255, 255, 255), 0.45)
    canvas.dots(xy, sizes * 1.28, [halo] * len(xy))
    canvas.dots(xy, sizes, [scaled(ink.lymphocyte, t) for t in between(rng, 0.85, 1.15, len(xy)).tolist()])
    return [around(x, y, r) for (x, y), r in zip(xy.tolist(), sizes.tolist(), strict=True)]
