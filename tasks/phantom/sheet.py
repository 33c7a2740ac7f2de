"""A contact sheet of phantom images, a row a modality, with the facts under each image.

>>> sheet = contact_sheet(["ct"], size=64, seed=0, per_row=2)
>>> sheet.mode
'RGB'

Every sheet and every row says that it is phantom and not clinical data. Needs Pillow; imports only `draw` and
`facts` of the project.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from tasks.phantom.canvas import Box, Drawn, stream
from tasks.phantom.draw import draw
from tasks.phantom.facts import MEASURES, NOT_APPLICABLE, VALUES, Facts, sample_facts

TITLE = "PHANTOM - drawn by a program from known facts - not clinical data"
_NAMES = {
    "path": "histology, H&E or immunostain", "ct": "chest CT, axial (patient's right at the viewer's left)",
    "derm": "dermoscopy, 1 mm ruler", "fundus": "colour fundus photograph", "oct": "macular OCT B-scan",
}  # fmt: skip
_LABELS = {
    "cellularity": "nuclei", "size_variation": "size variation", "mitotic_activity": "mitoses", "nodule_side": "nodule",
    "nodule_size": "", "ground_glass": "ground glass", "main_colour": "mainly", "colour_variety": "colours",
    "foveal_contour": "fovea", "ellipsoid_zone": "ellipsoid zone", "marked_layer": "arrow", "stain": "",
    "laterality": "", "neovascularisation": "new vessels",
}  # fmt: skip
_BOX_COLOURS = ("#00d0ff", "#ffd400", "#39ff6a", "#ff5ad0", "#ff8a3c", "#b59bff", "#ffffff", "#9fe0a0", "#ff6060",
                "#6f9bff", "#d8c090")  # fmt: skip
_PAD = 12


def contact_sheet(modalities: Sequence[str], size: int = 224, seed: int = 0, per_row: int = 6,
                  regions: bool = False) -> Image.Image:  # fmt: skip
    """Rows of labelled examples that between them show as many fact values as possible.

    `regions` outlines what the facts name.
    """
    cell = max(size, 150)
    font, small, large = (ImageFont.load_default(points) for points in (13, 11, 20))
    rows: list[list[tuple[Drawn, list[str]]]] = []
    for modality in modalities:
        chosen = varied_facts(modality, seed, per_row)
        drawn = [draw(modality, facts, seed * 1000 + i, size) for i, facts in enumerate(chosen)]
        rows.append([(d, _wrap(caption(modality, f), cell)) for d, f in zip(drawn, chosen, strict=True)])
    strip = 18 if regions else 0
    heights = [30 + strip + size + 6 + 14 * max(len(lines) for _, lines in row) + _PAD for row in rows]
    width = 2 * _PAD + per_row * cell + (per_row - 1) * _PAD
    sheet = Image.new("RGB", (width, 44 + sum(heights) + 24), (250, 250, 248))
    pen = ImageDraw.Draw(sheet)
    pen.text((_PAD, 12), _fit(TITLE, large, width - 2 * _PAD), (150, 20, 20), large)
    top = 44
    for modality, row, height in zip(modalities, rows, heights, strict=True):
        pen.text((_PAD, top + 8), f"phantom {modality}: {_NAMES[modality]} - not clinical data", (20, 20, 20), font)
        if regions:
            _legend(row[0][0], pen, (_PAD, top + 28), width - 2 * _PAD, small)
        for i, (drawn_one, lines) in enumerate(row):
            x = _PAD + i * (cell + _PAD)
            sheet.paste(_outlined(drawn_one) if regions else drawn_one.image, (x, top + strip + 30))
            for k, line in enumerate(lines):
                pen.text((x, top + strip + 36 + size + 14 * k), line, (60, 60, 60), small)
        top += height
    pen.text((_PAD, top), f"PHANTOM, seed {seed}, {size} px", (120, 120, 120), small)
    return sheet


def varied_facts(modality: str, seed: int, count: int) -> list[Facts]:
    """`count` facts; each next one is, of 40 drawn, the one whose values were shown least before."""
    rng = stream(seed, "sheet " + modality)
    shown: Counter[tuple[str, str]] = Counter()
    chosen: list[Facts] = []
    for _ in range(count):
        pool = [_values(modality, sample_facts(modality, rng)) for _ in range(40)]
        best = max(pool, key=lambda entry: sum(-shown[value] for value in entry[1]))
        shown.update(best[1])
        chosen.append(best[0])
    return chosen


def caption(modality: str, facts: Facts) -> str:
    """The facts of one image in one line; what is absent or does not apply is left out or said briefly."""
    parts: list[str] = []
    for name in VALUES[modality]:
        value = getattr(facts, name)
        if value == NOT_APPLICABLE:
            continue
        measure = MEASURES[modality].get(name)
        amount = f" ({getattr(facts, measure)})" if measure and getattr(facts, measure) else ""
        label = _LABELS.get(name, name)
        parts.append(f"{label} {value}{amount}".strip())
    if modality == "derm":
        parts.append("= " + ", ".join(getattr(facts, "colours")))  # noqa: B009
    return "; ".join(parts)


def _values(modality: str, facts: Facts) -> tuple[Facts, list[tuple[str, str]]]:
    return facts, [(name, getattr(facts, name)) for name in VALUES[modality]]


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(16, int(width / 5.7)))


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The title, or its first words when the sheet is narrow; the word PHANTOM always stays."""
    while font.getlength(text) > width and " " in text:
        text = text.rsplit(" ", 1)[0]
    return text


def _outlined(drawn: Drawn) -> Image.Image:
    """A copy with every region's boxes; large ones first, so that small ones stay visible on top."""
    image = drawn.image.copy()
    pen = ImageDraw.Draw(image)
    groups = sorted(zip(drawn.regions.values(), _colours(drawn), strict=True), key=lambda group: -_largest(group[0]))
    for boxes, colour in groups:
        for x0, y0, x1, y1 in boxes:
            left, top = int(x0 * image.width), int(y0 * image.height)
            corners = (left, top, max(left, int(x1 * image.width) - 1), max(top, int(y1 * image.height) - 1))
            pen.rectangle(corners, outline=colour)
    return image


def _legend(drawn: Drawn, pen: ImageDraw.ImageDraw, at: tuple[int, int], width: int,
            font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:  # fmt: skip
    """Region names in their colours on a dark strip."""
    x, y = at
    pen.rectangle((x, y, x + width, y + 15), fill=(40, 40, 40))
    for name, colour in zip(drawn.regions, _colours(drawn), strict=True):
        pen.text((x + 6, y + 1), name, colour, font)
        x += int(font.getlength(name)) + 14


def _colours(drawn: Drawn) -> list[str]:
    return [_BOX_COLOURS[number % len(_BOX_COLOURS)] for number in range(len(drawn.regions))]


def _largest(boxes: list[Box]) -> float:
    return max(((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes), default=0.0)
