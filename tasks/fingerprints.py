"""Telling whether two images show the same content: by bytes, by pixels, and by a perceptual hash.

>>> same_content([a, b, c])                                              # doctest: +SKIP
[0, 0, 2]

The perceptual hash compares each of 16 x 16 cells with its right neighbour (dHash): darker, brighter, or about the
same, measured against the image's own contrast, so that brightness, size and compression hardly move it. Unrelated
images differ in about half of the 256 places. Must not import torch or lm_eval.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewards.types import ImageSource

NEAR_BITS = 12
"""Two images count as copies when at most this many of the 256 places differ (see `near_pairs`)."""

_SIDE = 16
_FLAT = 2.0  # grey levels, and this share of the contrast: a step smaller than either is "about the same"
_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`content`: sha256 of the file; `pixels`: sha256 of the decoded RGB; `steps`: (256,) of -1, 0, 1.

    `plain` marks an image so even that its steps say nothing; it is compared by content and pixels alone.
    """

    content: str
    pixels: str
    steps: np.ndarray
    plain: bool


def fingerprint(image: ImageSource) -> Fingerprint:
    """Decode one image and hash it three ways. Raises: ImageProblem."""
    from PIL import Image

    rgb = image.open()
    pixels = hashlib.sha256(f"{rgb.size}".encode() + rgb.tobytes()).hexdigest()
    cells = np.asarray(rgb.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), dtype=np.float32)
    rise = (cells[:, 1:] - cells[:, :-1]).ravel()
    steps = np.where(np.abs(rise) > max(_FLAT, _SHARE * float(cells.std())), np.sign(rise), 0).astype(np.int8)
    return Fingerprint(image.sha256, pixels, steps, bool(np.count_nonzero(steps) < steps.size / 8))


def same_content(prints: Sequence[Fingerprint], near_bits: int | None = NEAR_BITS) -> list[int]:
    """For each image the index of the first one of its group; groups are joined by any of the three hashes.

    `near_bits` None leaves the perceptual hash out. Time grows with the square of the number of images (0.2 s for
    4,000).
    """
    parent = list(range(len(prints)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(i: int, j: int) -> None:
        low, high = sorted((root(i), root(j)))
        parent[high] = low

    for key in ("content", "pixels"):
        first: dict[str, int] = {}
        for i, found in enumerate(prints):
            join(i, first.setdefault(getattr(found, key), i))
    for i, j in near_pairs(prints, near_bits) if near_bits is not None else ():
        join(i, j)
    return [root(i) for i in range(len(prints))]


def near_pairs(prints: Sequence[Fingerprint], near_bits: int = NEAR_BITS) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, whose perceptual hashes differ in at most `near_bits` places.

    A step against none counts a half, opposite steps two: copies of an image drift, they do not flip.
    """
    telling = [i for i, found in enumerate(prints) if not found.plain]
    if not telling:
        return []
    signs = np.stack([prints[i].steps for i in telling]).astype(np.float32)
    known = np.abs(signs).sum(axis=1) / 2
    pairs = []
    for start in range(0, len(telling), 1024):
        distance = known[start : start + 1024, None] + known - signs[start : start + 1024] @ signs.T
        for row, column in np.argwhere(distance <= near_bits):
            if column > start + row:
                pairs.append((telling[start + row], telling[column]))
    return pairs
