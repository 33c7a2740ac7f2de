"""One door to the five generators, and the encoding and hashes of what they draw.

>>> import numpy as np
>>> from tasks.phantom.facts import sample_facts
>>> drawn = draw("ct", sample_facts("ct", np.random.default_rng(7)), seed=7, size=64)
>>> encode_png(drawn.image)[1:4]
b'PNG'

Phantom images are not clinical data. The same modality, facts, seed and size give the same pixels in every
process and on every platform, and the same facts and seed show the same scene at every size. `encode_png` writes
the file byte by byte without compression, because compressed bytes differ between zlib builds: so both hashes
below depend on the pixels alone. (Pillow 11.0 fills one polygon in thousands a few pixels differently from 11.3 and
later; nothing newer than 11.3 was seen to differ.) Generators are imported on first use.
Must not import torch or `bench`.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from importlib import import_module

import numpy as np
from PIL import Image

from tasks.phantom.canvas import MAX_SIZE, MIN_SIZE, Drawn
from tasks.phantom.facts import FACTS, MODALITIES, Facts

VERSION = 1
"""Raised whenever any generator's pixels change on purpose; part of every phantom suite's identity."""


def draw(modality: str, facts: Facts, seed: int, size: int = 224) -> Drawn:
    """Draw one image.

    `seed` (0 or more) decides looks and places that the facts leave open; `size` is the side in pixels, 48 to 448.

    Raises:
        ValueError: unknown modality, facts of another modality, a negative seed, or a size out of range.
    """
    if modality not in FACTS:
        raise ValueError(f"unknown modality {modality!r}, expected one of {', '.join(MODALITIES)}")
    if not isinstance(facts, FACTS[modality]):
        raise ValueError(f"{modality} needs {FACTS[modality].__name__}, got {type(facts).__name__}")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}, expected {MIN_SIZE} to {MAX_SIZE} pixels")
    generator = getattr(import_module(f"tasks.phantom.draw_{modality}"), f"draw_{modality}")
    drawn: Drawn = generator(facts, seed, size)
    return drawn


def encode_png(image: Image.Image) -> bytes:
    """The image as an 8-bit RGB PNG with stored (uncompressed) blocks; the same bytes everywhere."""
    pixels = np.asarray(image.convert("RGB"))
    rows = np.zeros((image.height, 1 + 3 * image.width), dtype=np.uint8)
    rows[:, 1:] = pixels.reshape(image.height, -1)
    raw = rows.tobytes()
    blocks = [raw[i : i + 65535] for i in range(0, len(raw), 65535)]
    stored = b"".join(
        struct.pack("<BHH", i == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for i, block in enumerate(blocks)
    )
    data = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 0)
    note = b"Comment\x00phantom: drawn by a program, not clinical data"
    chunks = ((b"IHDR", header), (b"tEXt", note), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def png_sha256(image: Image.Image) -> str:
    """Hex digest of `encode_png(image)`: the image's content hash in every result row."""
    return hashlib.sha256(encode_png(image)).hexdigest()


def pixel_sha256(image: Image.Image) -> str:
    """Hex digest of mode, size and raw pixels, for images that passed through another encoder without loss."""
    head = f"RGB {image.width}x{image.height}\n".encode()
    return hashlib.sha256(head + image.convert("RGB").tobytes()).hexdigest()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
