"""Phantom retinal OCT: a macular B-scan with layers, foveal contour, fluid, drusen and traction of the facts.

>>> from tasks.phantom.facts import sample_facts
>>> facts = sample_facts("oct", stream(1, "facts"))
>>> len(draw_oct(facts, seed=1, size=64).regions["drusen"]) == facts.drusen_count
True

Regions: "fovea", "intraretinal_fluid" and "drusen" (a box each), "subretinal_fluid", "traction" (membrane),
"ellipsoid_gaps", "marked_layer" (where the arrow points), "arrow", and "layer:NAME" for the layers that can be
marked. Needs numpy and Pillow through `canvas` only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.phantom.canvas import Box, Canvas, Drawn, Floats, between, blob, bounds, bump, noise, sin, stream
from tasks.phantom.facts import VALUES, OctFacts

_THICKNESS: dict[str, float] = {
    "RNFL": 0.030, "GCL": 0.052, "INL": 0.034, "OPL": 0.020, "ONL": 0.082, "EZ": 0.016, "OS": 0.024, "RPE": 0.026,
}  # fmt: skip
"""Layer thickness away from the fovea, from the inner surface outwards, as a share of the image height."""

_BRIGHT = {"RNFL": 178, "GCL": 112, "INL": 66, "OPL": 122, "ONL": 50, "EZ": 196, "OS": 88, "RPE": 232}
_LAYERS = {
    "retinal nerve fibre layer": ("RNFL", "GCL"), "outer nuclear layer": ("ONL", "EZ"),
    "retinal pigment epithelium": ("RPE", "choroid"), "choroid": ("choroid", "sclera"),
}  # fmt: skip
"""Layer name to the upper edges of itself and of what follows below."""

_ARROW_X = 0.13


@dataclass(frozen=True, slots=True)
class _Scene:
    """Column-wise heights of every layer's upper edge (y down) at `x`; `hole` is a pixel mask."""

    x: Floats
    top: dict[str, Floats]
    fluid: Floats
    drusen: list[tuple[float, float, float]]
    hole: NDArray[np.bool_]
    gaps: list[tuple[float, float]]


def draw_oct(facts: OctFacts, seed: int, size: int) -> Drawn:
    """Draw one B-scan; see the module docstring for the regions."""
    canvas = Canvas(size, (0, 0, 0))
    scene = _scene(facts, seed, (np.arange(canvas.width) + 0.5) / canvas.width)
    looks = stream(seed, "oct looks")
    canvas.replace(_render(scene, canvas, looks))
    cysts = _cysts(canvas, facts, scene, stream(seed, "oct cysts"))
    pull = _traction(canvas, facts, scene, stream(seed, "oct traction"))
    canvas.replace(_speckle(canvas, looks))
    arrow, target = _mark(canvas, facts, scene)
    regions = {
        "fovea": [_span(scene, 0.40, 0.60, "RNFL", "choroid")], "intraretinal_fluid": cysts,
        "subretinal_fluid": _subretinal(facts, scene),
        "drusen": [_span(scene, x - w, x + w, "RPE", "choroid", h) for x, w, h in scene.drusen],
        "traction": pull, "ellipsoid_gaps": [_span(scene, a, b, "EZ", "OS") for a, b in scene.gaps],
        "arrow": [arrow], "marked_layer": [target],
        **{f"layer:{name}": [_span(scene, 0.0, 1.0, *_LAYERS[name])] for name in VALUES["oct"]["marked_layer"]},
    }  # fmt: skip
    return Drawn(canvas.finish(), regions)


def _scene(facts: OctFacts, seed: int, x: Floats) -> _Scene:
    """Heights of all layer edges, built from the pigment epithelium upwards."""
    rng = stream(seed, "oct layers")
    tilt, bow = float(between(rng, -0.03, 0.03)), float(between(rng, 0.01, 0.05))
    height = float(between(rng, 0.66, 0.69))
    u = 2 * x - 1
    base = height + tilt * u - bow * u * u + 0.004 * sin(x * 1.7 + float(rng.random()))
    drusen = _drusen(facts, stream(seed, "oct drusen"))
    lift = np.zeros_like(x)
    for place, width, tall in drusen:
        lift = np.maximum(lift, tall * bump((x - place) / width))
    fluid_rng = stream(seed, "oct subretinal")
    centre, spread = 0.5 + float(between(fluid_rng, -0.05, 0.05)), float(between(fluid_rng, 0.26, 0.32))
    rise = float(between(fluid_rng, 0.095, 0.12)) if facts.fluid in ("subretinal", "both") else 0.0
    fluid = rise * bump((x - centre) / spread)
    inner, outer = _thickness_at_fovea(facts, x)
    swollen = 1 + (0.55 * bump((x - 0.5) / 0.42) if facts.fluid in ("intraretinal", "both") else 0.0)
    depth = float(between(rng, 0.18, 0.21)) + 0.01 * sin(x * 2.3)
    top = {"choroid": base + _THICKNESS["RPE"] * 0.9, "sclera": base + depth}
    top["RPE"] = base - lift
    top["OS_end"] = np.minimum(top["RPE"], base - fluid)
    top["OS"] = top["OS_end"] - _THICKNESS["OS"]
    top["EZ"] = top["OS"] - _THICKNESS["EZ"]
    calm = base - fluid - 0.18 * lift - _THICKNESS["OS"] - _THICKNESS["EZ"]
    top["ONL"] = np.minimum(calm - _THICKNESS["ONL"] * outer * swollen, top["EZ"] - 0.012)
    above = top["ONL"]
    for name in ("OPL", "INL", "GCL", "RNFL"):
        thick = _THICKNESS[name] * inner * (swollen if name == "INL" else 1.0)
        above = top[name] = above - np.maximum(thick, 0.003)
    return _Scene(x, top, fluid, drusen, _hole(facts, x, top), _gaps(facts, rng))


def _hole(facts: OctFacts, x: Floats, top: dict[str, Floats]) -> NDArray[np.bool_]:
    """Pixels of a full-thickness hole: rounded at the inner rim, wider again at the base, shape (y, x)."""
    if facts.foveal_contour != "full-thickness hole":
        return np.zeros((1, len(x)), dtype=np.bool_)
    deep = (x[:, None] - top["RNFL"][None, :]) / (top["OS_end"] - top["RNFL"])[None, :]
    low = np.minimum(np.maximum(deep, 0.0), 1.0)
    high = 1.0 - low
    half = 0.040 + 0.055 * high * high * high * high * high + 0.030 * low * low * low * low
    inside: NDArray[np.bool_] = np.abs(x - 0.5)[None, :] < half
    return inside


def _thickness_at_fovea(facts: OctFacts, x: Floats) -> tuple[Floats, Floats]:
    """Factors for inner layers and outer nuclear layer along the scan: the foveal contour."""
    pit = bump((x - 0.5) / 0.17)
    rim = bump((x - 0.5) / 0.34)
    if facts.foveal_contour == "normal pit":
        return 1 + 0.12 * rim - 1.08 * pit, 1 + 0.25 * pit
    if facts.foveal_contour == "elevated":
        return 1 + 0.30 * pit, 1 + 0.9 * bump((x - 0.5) / 0.24)
    if facts.foveal_contour == "full-thickness hole":
        return 1 + 0.22 * rim, 1 + 0.55 * rim
    return np.ones_like(x), np.ones_like(x)


def _drusen(facts: OctFacts, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Place, half width and height of each druse, apart from each other."""
    many = facts.drusen == "many"
    slots = 9 if many else 5
    order = np.sort(rng.permutation(slots)[: facts.drusen_count])
    places = 0.17 + 0.74 * (order + 0.5) / slots + between(rng, -0.006, 0.006, facts.drusen_count)
    width = between(rng, 0.034, 0.039, facts.drusen_count) * (1.0 if many else 1.3)
    height = between(rng, 0.030, 0.042, facts.drusen_count) * (1.0 if many else 1.2)
    return list(zip(places.tolist(), width.tolist(), height.tolist(), strict=True))


def _gaps(facts: OctFacts, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Stretches of the scan without an ellipsoid line."""
    if facts.ellipsoid_zone == "continuous":
        return []
    a, b = between(rng, 0.0, 0.02, 2).tolist()
    return [(0.21 + a, 0.31 + a), (0.40 - a, 0.61 + b), (0.70 + b, 0.79 + b)]


def _render(scene: _Scene, canvas: Canvas, rng: np.random.Generator) -> Image.Image:
    """Paint the layers column by column into a grey image."""
    width = canvas.width
    y = np.arange(width, dtype=np.int32)[:, None]
    grey = np.full((width, width), 14, dtype=np.uint8)
    rows = {name: np.rint(edge * width).astype(np.int32)[None, :] for name, edge in scene.top.items()}
    level = np.full((1, width), 0, dtype=np.uint8)
    order = ["RNFL", "GCL", "INL", "OPL", "ONL", "EZ", "OS"]
    for name, below in zip(order, [*order[1:], "OS_end"], strict=True):
        level = np.full((1, width), _BRIGHT[name], dtype=np.uint8)
        if name == "EZ":
            for a, b in scene.gaps:
                level[0, (scene.x > a) & (scene.x < b)] = 56
        inside = (y >= rows[name]) & (y < rows[below]) & ~scene.hole
        np.copyto(grey, level, where=inside)
    fluid = np.rint((scene.fluid > 0.012) * 10).astype(np.uint8)[None, :] + np.uint8(12)
    np.copyto(grey, fluid, where=(y >= rows["OS_end"]) & (y < rows["RPE"]))
    np.copyto(grey, np.uint8(118), where=(y >= rows["RPE"]) & (y < rows["choroid"]))
    line = np.rint(np.full(width, _THICKNESS["RPE"] * 0.8 * width)).astype(np.int32)[None, :]
    np.copyto(grey, np.uint8(_BRIGHT["RPE"]), where=(y >= rows["RPE"]) & (y < rows["RPE"] + line))
    vessels = np.asarray(noise(rng, (26, 34), canvas.shape, 0, 255))
    deep = np.clip((y - rows["choroid"]) * 420 // width, 0, 110).astype(np.uint8)
    choroid = np.clip(vessels, 88, 168) // 2 + np.uint8(52) - deep // 2
    np.copyto(grey, choroid, where=(y >= rows["choroid"]) & (y < rows["sclera"]))
    np.copyto(grey, np.maximum(84 - deep // 2, 16).astype(np.uint8), where=y >= rows["sclera"])
    return Image.merge("RGB", (Image.fromarray(grey),) * 3)


def _speckle(canvas: Canvas, rng: np.random.Generator) -> Image.Image:
    """Multiplicative speckle with the scan's horizontal grain, at a fixed lattice so that all sizes share it."""
    fine = np.asarray(noise(rng, (140, 188), canvas.shape, 0, 255), dtype=np.uint32)
    wide = np.asarray(noise(rng, (60, 160), canvas.shape, 0, 255), dtype=np.uint32)
    grain = 118 + ((fine * 5 + wide * 3) >> 3)
    grey = np.asarray(canvas.image.getchannel(0), dtype=np.uint32)
    out = np.minimum(((grey * grain) >> 8) + (fine >> 4), 255).astype(np.uint8)
    return Image.merge("RGB", (Image.fromarray(out),) * 3)


def _height(scene: _Scene, name: str, x: float) -> float:
    edge = scene.top[name]
    return float(edge[min(len(edge) - 1, int(x * len(edge)))])


def _cysts(canvas: Canvas, facts: OctFacts, scene: _Scene, rng: np.random.Generator) -> list[Box]:
    """Dark cystoid spaces between bright septa in the inner and outer nuclear layers beside the fovea."""
    if facts.fluid not in ("intraretinal", "both"):
        return []
    boxes: list[Box] = []
    places = [(-0.085, "ONL", 0.034), (0.085, "ONL", 0.034), (-0.165, "ONL", 0.026), (0.165, "ONL", 0.026),
              (-0.12, "INL", 0.019), (0.12, "INL", 0.019), (0.0, "ONL", 0.030)]  # fmt: skip
    if facts.foveal_contour in ("full-thickness hole", "normal pit"):
        places = places[:-1]
    for offset, layer, radius in places:
        x = 0.5 + offset + float(between(rng, -0.008, 0.008))
        below = {"ONL": "EZ", "INL": "OPL"}[layer]
        high, low = _height(scene, layer, x), _height(scene, below, x)
        tall = min((low - high) * 0.47, 0.055)
        shape = blob(x, (high + low) / 2, float(between(rng, 0.82, 1.05)), 1.0, float(rng.random()), 0.16, rng, 24)
        middle = np.array([x, (high + low) / 2])
        shape = middle + (shape - middle) * np.array([radius, tall])
        canvas.polygon(shape, (96, 96, 96))
        canvas.polygon(middle + (shape - middle) * 0.91, (8, 8, 8))
        boxes.append(bounds(shape))
    return boxes


def _traction(canvas: Canvas, facts: OctFacts, scene: _Scene, rng: np.random.Generator) -> list[Box]:
    """Posterior hyaloid that pulls the fovea up, or a bright membrane on a wrinkled inner surface."""
    if facts.traction == "none":
        return []
    if facts.traction == "vitreomacular traction":
        apex = min(_height(scene, "RNFL", x) for x in (0.44, 0.5, 0.56)) - 0.03
        t = np.arange(25) / 24
        left, right = between(rng, 0.17, 0.24, 2).tolist()
        u = np.concatenate([1 - t, t[1:]])
        rise = np.concatenate([np.full(25, left), np.full(24, right)]) * (0.25 * u + 0.75 * u * u * (2 - u))
        x = 0.5 + np.concatenate([-(1 - t), t[1:]]) * 0.47
        line = np.stack([x, apex - rise], axis=1)
        foot = np.array([[0.415, _height(scene, "RNFL", 0.415) + 0.01], [0.5, apex],
                         [0.585, _height(scene, "RNFL", 0.585) + 0.01]])  # fmt: skip
        if facts.foveal_contour == "full-thickness hole":
            foot = np.array([0.5, apex + 0.006]) + (blob(0.0, 0.0, 1.0) * np.array([0.042, 0.014]))
        canvas.polygon(foot, (150, 150, 150))
        canvas.line(line, (176, 176, 176), 0.009)
        return [bounds(np.concatenate([line, foot]), 0.006)]
    x = 0.12 + 0.76 * np.arange(61) / 60
    surface = np.array([_height(scene, "RNFL", float(value)) for value in x])
    wrinkle = 0.007 * (1 + sin(x * 15 + float(rng.random())))
    line = np.stack([x, surface - 0.006 - wrinkle], axis=1)
    canvas.line(line, (244, 244, 244), 0.013)
    return [bounds(line, 0.008)]


def _span(scene: _Scene, x0: float, x1: float, upper: str, lower: str, lift: float = 0.0) -> Box:
    """Box of the columns x0..x1 between two layer edges."""
    inside = (scene.x >= x0) & (scene.x <= x1)
    y0, y1 = np.min(scene.top[upper][inside]), np.max(scene.top[lower][inside])
    return bounds(np.array([[max(0.0, x0), y0], [min(1.0, x1), max(float(y1), float(y0) + lift)]]))


def _subretinal(facts: OctFacts, scene: _Scene) -> list[Box]:
    if facts.fluid not in ("subretinal", "both"):
        return []
    wet = scene.x[scene.fluid > 0.012]
    return [_span(scene, float(wet[0]), float(wet[-1]), "OS_end", "RPE")]


def _mark(canvas: Canvas, facts: OctFacts, scene: _Scene) -> tuple[Box, Box]:
    """A yellow arrow from the left whose tip touches the marked layer."""
    upper, lower = _LAYERS[facts.marked_layer]
    share = 0.4 if facts.marked_layer == "choroid" else 0.5
    high, low = _height(scene, upper, _ARROW_X), _height(scene, lower, _ARROW_X)
    y = high + (low - high) * share
    head = np.array([[_ARROW_X, y], [_ARROW_X - 0.05, y - 0.026], [_ARROW_X - 0.05, y + 0.026]])
    canvas.line(np.array([[0.01, y], [_ARROW_X - 0.04, y]]), (250, 214, 60), 0.018)
    canvas.polygon(head, (250, 214, 60))
    box = bounds(np.array([[0.01, y - 0.026], [_ARROW_X, y + 0.026]]))
    return box, bounds(np.array([[_ARROW_X, high], [_ARROW_X + 0.06, low]]))
