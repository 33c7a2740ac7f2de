"""An image on its way to a judge: the stored bytes where a vendor reads them, else a PNG, bounded in size.

    media_type, data = await encode(sample.image, max_side=1568)         # "image/png", base64 text

Bytes are read when a request is sent and dropped with it; a request itself holds no pixels.
"""

from __future__ import annotations

import asyncio
import base64
import io

from PIL import Image, ImageOps

from rewards.errors import ImageProblem
from rewards.judges.base import JudgeError
from rewards.types import ImageSource

_MEDIA = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_ORIENTATION = 0x0112


def _encode(image: ImageSource, max_side: int) -> tuple[str, str]:
    raw = image.read()
    with Image.open(io.BytesIO(raw)) as opened:  # reads the header only
        media = _MEDIA.get(opened.format or "")
        as_stored = media and max(opened.size) <= max_side and opened.getexif().get(_ORIENTATION, 1) == 1
    if as_stored and media:
        return media, base64.b64encode(raw).decode("ascii")
    pixels = ImageOps.contain(image.open(), (max_side, max_side)) if max(opened.size) > max_side else image.open()
    out = io.BytesIO()
    pixels.convert("RGB").save(out, "PNG")
    return "image/png", base64.b64encode(out.getvalue()).decode("ascii")


async def encode(image: ImageSource, max_side: int) -> tuple[str, str]:
    """Media type and base64 data. Raises `JudgeError` "bad-image"; the thread keeps the event loop free."""
    try:
        return await asyncio.to_thread(_encode, image, max_side)
    except (OSError, ValueError, ImageProblem, Image.DecompressionBombError) as problem:
        raise JudgeError("bad-image", f"{type(problem).__name__}: {problem}") from None
