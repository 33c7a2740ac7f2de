"""A small JPEG of an image for a page: bounded edge, re-encoded, so that nothing but pixels is passed on.

>>> import io; from PIL import Image
>>> buffer = io.BytesIO(); Image.new("RGB", (2000, 1000)).save(buffer, "PNG")
>>> Image.open(io.BytesIO(thumbnail(buffer.getvalue()))).size
(320, 160)
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable
from pathlib import Path

from rewards.errors import ImageProblem
from rewards.types import ImageSource

EDGE = 320
QUALITY = 72
MAX_PIXELS = 100_000_000


def thumbnail(data: bytes, edge: int = EDGE) -> bytes:
    """JPEG bytes no larger than `edge` on either side. Raises `ImageProblem` where the bytes are no usable image."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ImageProblem(f"{picture.width} x {picture.height} pixels are too many for a thumbnail")
                small = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as problem:
        raise ImageProblem(f"not a usable image: {problem}") from problem
    small.thumbnail((edge, edge))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


STORED_EDGE = 192


def store_thumbnails(folder: Path, images: Iterable[ImageSource]) -> int:
    """Keep a small JPEG of every image in `folder`/thumbnails/<sha256>.jpg, for the leaderboard's sample browser.

    Returns how many are there. An image that is no usable one is left out; those already stored are not read again.
    """
    target = folder / "thumbnails"
    found = 0
    for image in {image.sha256: image for image in images}.values():
        path = target / f"{image.sha256}.jpg"
        if not path.is_file():
            try:
                small = thumbnail(image.read(), STORED_EDGE)
            except (ImageProblem, OSError):
                continue
            target.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(small)
            part.replace(path)
        found += 1
    return found


def data_uri(jpeg: bytes) -> str:
    """The JPEG as a data URI, for `<img src>`."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
