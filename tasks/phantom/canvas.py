"""What all five generators draw with: random streams, a supersampled canvas, curves and noise.

>>> canvas = Canvas(64, (255, 255, 255))
>>> box = canvas.polygon(blob(0.5, 0.5, 0.2), (90, 60, 140))
>>> canvas.finish().size
(64, 64)

Scenes are laid out in the unit square (x to the right, y down) and rasterised at any size, so the same facts and
seed show the same scene at every size. To be identical on every platform the drawing uses: PCG64 streams through
uniform numbers and integers only; sine and cosine from a table that is rounded to 2**-14; IEEE add, multiply,
divide and square root; no float sums, no matrix products, no exp, no power; Pillow's integer rasteriser and
fixed-point resampling for pixels. Needs numpy and Pillow; imports nothing else of the project.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in [0, 1] of image width and height, x0 < x1 and y0 < y1."""

RGB = tuple[int, int, int]
Floats = NDArray[np.float64]

MIN_SIZE, MAX_SIZE = 48, 448
"""Allowed image sizes in pixels; images are square."""

_TURN = 4096
_TABLE = np.round(np.sin(np.arange(_TURN) * (2 * np.pi / _TURN)) * 16384) / 16384
_LIST: list[float] = _TABLE.tolist()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawn image and where its facts can be seen: region name to boxes, empty when the finding is absent."""

    image: Image.Image
    regions: Mapping[str, list[Box]] = field(default_factory=dict)


def stream(seed: int, name: str) -> np.random.Generator:
    """An independent random stream; the name keeps one detail's draws from shifting another's."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def sin(turns: Floats | float) -> Floats:
    """Sine of an angle in turns (1 is a full circle), from the rounded table."""
    values: Floats = _TABLE[np.floor(np.asarray(turns) * _TURN).astype(np.int64) % _TURN]
    return values


def cos(turns: Floats | float) -> Floats:
    """Cosine of an angle in turns, from the rounded table."""
    return sin(np.asarray(turns) + 0.25)


def direction(turns: float) -> tuple[float, float]:
    """Cosine and sine of one angle in turns, from the same table."""
    at = math.floor(turns * _TURN)
    return _LIST[(at + _TURN // 4) % _TURN], _LIST[at % _TURN]


def bump(u: Floats) -> Floats:
    """Smooth bell: 1 at 0, 0 from |u| = 1 on; (1 - u^2)^2."""
    rest = np.maximum(0.0, 1.0 - u * u)
    return rest * rest


def smoothstep(u: Floats) -> Floats:
    """0 below 0, 1 above 1, smooth in between."""
    u = np.minimum(np.maximum(u, 0.0), 1.0)
    return u * u * (3.0 - 2.0 * u)


def between(rng: np.random.Generator, low: float, high: float, shape: int | tuple[int, ...] | None = None) -> Floats:
    """Uniform numbers in [low, high)."""
    return low + (high - low) * np.asarray(rng.random(shape))


def ring(points: int) -> Floats:
    """Angles in turns of `points` equal steps round a circle, shape (points,)."""
    return np.arange(points) / points


def blob(x: float, y: float, radius: float, squeeze: float = 1.0, turn: float = 0.0, wobble: float = 0.0,
         rng: np.random.Generator | None = None, points: int = 24) -> Floats:  # fmt: skip
    """Closed contour round (x, y), shape (points, 2).

    `radius` is the long half axis, `squeeze` short over long axis, `turn` the direction of the long axis in turns,
    `wobble` the amplitude of a low-frequency irregularity in units of the radius (needs `rng`).
    """
    angle = ring(points)
    scale = np.ones(points)
    if wobble and rng is not None:
        phase, weight = rng.random(3), between(rng, 0.5, 1.0, 3)
        for i, k in enumerate((2, 3, 5)):
            scale = scale + wobble * weight[i] / (1 + i) * cos(k * angle + phase[i])
    u, v = radius * scale * cos(angle), radius * squeeze * scale * sin(angle)
    c, s = direction(turn)
    return np.stack([x + u * c - v * s, y + u * s + v * c], axis=1)


def curve(points: Sequence[tuple[float, float]], steps: int = 8, closed: bool = False) -> Floats:
    """Catmull-Rom curve through the points, shape (n, 2)."""
    p = np.asarray(points, dtype=np.float64)
    if closed:
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        p = np.concatenate([p[:1], p, p[-1:]])
    t = (np.arange(steps) / steps)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    line = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t * t * t)
    line = line.transpose(1, 0, 2).reshape(-1, 2)
    return line if closed else np.concatenate([line, p[-2:-1]])


def bounds(points: Floats, margin: float = 0.0) -> Box:
    """Bounding box of the points, clipped to the image, in steps of 1/4096."""
    x0, y0 = points.min(axis=0).tolist()
    x1, y1 = points.max(axis=0).tolist()
    return (_down(x0 - margin), _down(y0 - margin), _up(x1 + margin), _up(y1 + margin))


def around(x: float, y: float, radius: float) -> Box:
    """The box of a circle, clipped to the image, in steps of 1/4096."""
    return (_down(x - radius), _down(y - radius), _up(x + radius), _up(y + radius))


def _down(value: float) -> float:
    return min(1.0, max(0.0, math.floor(value * 4096) / 4096))


def _up(value: float) -> float:
    return min(1.0, max(0.0, math.ceil(value * 4096) / 4096))


def noise(rng: np.random.Generator, cells: int | tuple[int, int], size: tuple[int, int], low: int = 0,
          high: int = 255) -> Image.Image:  # fmt: skip
    """Smooth random grey image in [low, high]: a lattice of `cells` (across, down) resampled to `size`."""
    across, down = (cells, cells) if isinstance(cells, int) else cells
    lattice = rng.integers(low, high + 1, (down, across), dtype=np.uint8)
    return Image.fromarray(lattice).resize(size, Image.Resampling.BICUBIC)


def scaled(colour: Sequence[float], factor: float) -> RGB:
    """The colour made darker (factor below 1) or lighter, each channel in 0..255."""
    r, g, b = (min(255, max(0, int(c * factor + 0.5))) for c in colour)
    return (r, g, b)


def mixed(a: Sequence[float], b: Sequence[float], share: float) -> RGB:
    """`share` of colour `b` mixed into colour `a`."""
    red, green, blue = (min(255, max(0, int(p + (q - p) * share + 0.5))) for p, q in zip(a, b, strict=True))
    return (red, green, blue)


class Canvas:
    """An RGB image drawn at a multiple of its final size (at least 192 px) and box-averaged down at the end."""

    def __init__(self, size: int, background: RGB) -> None:
        if not MIN_SIZE <= size <= MAX_SIZE:
            raise ValueError(f"size is {size}, expected {MIN_SIZE} to {MAX_SIZE} pixels")
        self.size = size
        self.factor = max(2, -(-192 // size))
        self.width = size * self.factor
        self.shape = (self.width, self.width)
        self.image = Image.new("RGB", self.shape, background)
        self._pen = ImageDraw.Draw(self.image)

    def polygon(self, points: Floats, fill: RGB | None, outline: RGB | None = None, width: float = 0.0) -> None:
        """Fill a closed contour given in unit coordinates."""
        self._pen.polygon(self.pixels(points), fill, outline, max(1, self.length(width)))

    def polygons(self, contours: Floats, fills: Sequence[RGB]) -> None:
        """Fill many contours, shape (n, points, 2), each with its colour."""
        flat = np.rint(contours * self.width).astype(np.int64).reshape(len(contours), -1).tolist()
        for points, fill in zip(flat, fills, strict=True):
            self._pen.polygon(points, fill)

    def line(self, points: Floats, fill: RGB, width: float) -> None:
        """A polyline with round joints, `width` in unit coordinates (at least one canvas pixel)."""
        self._pen.line(self.pixels(points), fill, max(1, self.length(width)), "curve" if width > 0.01 else None)

    def lines(self, paths: Floats, fills: Sequence[RGB], widths: Sequence[float]) -> None:
        """Many polylines, shape (n, points, 2), each with its colour and width."""
        flat = np.rint(paths * self.width).astype(np.int64).reshape(len(paths), -1).tolist()
        for points, fill, width in zip(flat, fills, widths, strict=True):
            self._pen.line(points, fill, max(1, self.length(width)))

    def dots(self, xy: Floats, radius: Sequence[float] | Floats, fills: Sequence[RGB]) -> None:
        """Filled circles."""
        low = np.rint((xy - np.asarray(radius)[:, None]) * self.width).astype(np.int64).tolist()
        high = np.rint((xy + np.asarray(radius)[:, None]) * self.width).astype(np.int64).tolist()
        for (x0, y0), (x1, y1), fill in zip(low, high, fills, strict=True):
            self._pen.ellipse((x0, y0, x1, y1), fill)

    def mask(self, *contours: Floats, blur: float = 0.0) -> Image.Image:
        """White inside the contours, black outside; `blur` softens the edge by about that length."""
        mask = Image.new("L", self.shape, 0)
        pen = ImageDraw.Draw(mask)
        for points in contours:
            pen.polygon(self.pixels(points), 255)
        return soften(mask, self.length(blur)) if blur else mask

    def paste(self, colour: RGB | Image.Image, mask: Image.Image) -> None:
        """Paint a colour or an image of canvas size through a mask."""
        if isinstance(colour, Image.Image):
            self.image.paste(colour, (0, 0), mask)
        else:
            self.image.paste(colour, (0, 0, *self.shape), mask)

    def multiply(self, shade: Image.Image) -> None:
        """Darken by a grey or colour image of canvas size; 255 leaves a pixel as it is."""
        other = shade if shade.mode == "RGB" else Image.merge("RGB", (shade, shade, shade))
        self.replace(ImageChops.multiply(self.image, other))

    def replace(self, image: Image.Image) -> None:
        """Go on with another image of canvas size."""
        self.image = image
        self._pen = ImageDraw.Draw(image)

    def pixels(self, points: Floats) -> list[int]:
        """Unit coordinates to a flat list of canvas pixels x, y, x, y, ..."""
        flat: list[int] = np.rint(points * self.width).astype(np.int64).reshape(-1).tolist()
        return flat

    def length(self, units: float) -> int:
        """A length in unit coordinates as whole canvas pixels."""
        return int(units * self.width + 0.5)

    def finish(self, rng: np.random.Generator | None = None, grain: int = 0) -> Image.Image:
        """The image at its final size, with uniform sensor grain of +-`grain` grey levels."""
        image = self.image.reduce(self.factor)
        if rng is None or not grain:
            return image
        offsets = rng.integers(-grain, grain + 1, (self.size, self.size, 1), dtype=np.int16)
        return Image.fromarray(np.clip(np.asarray(image, dtype=np.int16) + offsets, 0, 255).astype(np.uint8))


def soften(mask: Image.Image, radius: int) -> Image.Image:
    """Blur a grey image by shrinking it with a box filter and enlarging it again; integer arithmetic, cheap."""
    if radius < 2:
        return mask
    small = (max(2, -(-mask.width // radius)), max(2, -(-mask.height // radius)))
    return mask.resize(small, Image.Resampling.BOX).resize(mask.size, Image.Resampling.BICUBIC)
