"""Images that cost nothing until they are used: a path inside the data folder, or a function that draws one.

>>> image = FileImage.inside(Path("data"), "images/a.png")          # doctest: +SKIP
>>> image.open().size                                                # doctest: +SKIP
(224, 224)

A holder keeps no pixels, no bytes and no file handle; `open` reads, checks and decodes afresh each time. Whatever the
file says about itself is checked before decoding: declared size, kind, Git LFS pointers. Only the formats listed here
are tried, so that no file reaches a decoder that starts other programs. Must not import torch or transformers.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rewards.errors import ImageProblem
from tasks.loaded import Reason

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 64_000_000
"""Largest declared width x height that is decoded (about 190 MB as RGB)."""

MAX_BYTES = 256 * 2**20
"""Largest file that is read."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_LFS = b"version https://git-lfs.github.com/spec/"
_PNG = b"\x89PNG\r\n\x1a\n"
_STARTS = (_PNG, b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
_DECODING = (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError, struct.error,
             zlib.error)


class BadImage(ImageProblem):
    """An `ImageProblem` that also carries the `Reason` under which the row is counted."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[BadImage], tuple[Reason, str]]:
        return type(self), (self.reason, self.detail)


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image file under `root`, named by a relative path; build it with `inside`, which checks the name."""

    path: Path
    name: str
    _sha256: list[str] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def inside(cls, root: Path, name: str, folder: str = "") -> FileImage:
        """The file `name` in `folder` of the data folder `root`; no `..`, absolute path or link may leave the root.

        Raises: BadImage (outside, missing, not a plain file).
        """
        parts = re.split(r"[/\\]", name)
        if not name.strip() or "\0" in name:
            raise BadImage(Reason.NO_IMAGE_NAMED, repr(name))
        if name.startswith(("/", "\\", "~")) or re.match(r"^[A-Za-z]:", name) or ".." in parts:
            raise BadImage(Reason.OUTSIDE, name)
        top = root.resolve()
        try:
            path = (top / folder / name).resolve()
            if not path.is_relative_to(top):
                raise BadImage(Reason.OUTSIDE, f"{name} (a link to somewhere else)")
            if not path.is_file():
                raise BadImage(Reason.MISSING_IMAGE, name)
        except (OSError, RuntimeError, ValueError) as problem:  # name too long, a loop of links, half a character
            raise BadImage(Reason.MISSING_IMAGE, f"{name} ({problem})") from problem
        return cls(path, name)

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes, read once."""
        if not self._sha256:
            self.read()
        return self._sha256[0]

    def read(self) -> bytes:
        """The file's bytes as stored. Raises: BadImage when missing, too large, or changed since the first reading."""
        try:
            size = self.path.stat().st_size
            if size > MAX_BYTES:
                raise BadImage(Reason.TOO_LARGE, f"{self.name} has {size:,} bytes, more than {MAX_BYTES:,}")
            data = self.path.read_bytes()
        except FileNotFoundError as problem:
            raise BadImage(Reason.MISSING_IMAGE, self.name) from problem
        except OSError as problem:
            raise BadImage(Reason.UNREADABLE, f"{self.name}: {problem.strerror}") from problem
        found = hashlib.sha256(data).hexdigest()
        if not self._sha256:
            self._sha256.append(found)
        elif self._sha256[0] != found:
            raise BadImage(Reason.CHANGED, self.name)
        return data

    def open(self) -> Image.Image:
        """A freshly decoded RGB image, EXIF orientation applied. Raises: BadImage."""
        return decode(self.read(), self.name)

    def check(self) -> None:
        """Refuse what the bytes alone give away, without decoding where that can be avoided. Raises: BadImage."""
        inspect(self.read(), self.name)


@dataclass(frozen=True, slots=True)
class MemoryImage:
    """An image drawn on use: `draw()` returns the same PNG bytes every time. Picklable when `draw` is."""

    draw: Callable[[], bytes]
    name: str = "drawn image"
    _sha256: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def sha256(self) -> str:
        """Hex digest of the PNG, drawn once for it and not kept."""
        if not self._sha256:
            self.read()
        return self._sha256[0]

    def read(self) -> bytes:
        """The PNG bytes."""
        data = self.draw()
        if not self._sha256:
            self._sha256.append(hashlib.sha256(data).hexdigest())
        return data

    def open(self) -> Image.Image:
        """A freshly drawn RGB image. Raises: BadImage."""
        return decode(self.read(), self.name)


def inspect(data: bytes, name: str) -> None:
    """Refuse bytes that are no usable image: pointer, wrong kind, declared too large, cut off.

    PNG checksums are verified. A JPEG is decoded only when its end marker is missing; damage inside one shows when it
    is opened. Raises: BadImage.
    """
    from PIL import Image

    image = _header(data, name)
    try:
        if image.format == "PNG":
            image.verify()
            whole = b"IEND" in data[-64:]
        elif image.format in ("JPEG", "MPO"):
            whole = b"\xff\xd9" in data[-4096:]
        else:
            whole = False
    except _DECODING as problem:
        raise BadImage(Reason.DAMAGED, f"{name} ({problem})") from problem
    except Image.DecompressionBombError as problem:
        raise BadImage(Reason.TOO_LARGE, name) from problem
    finally:
        image.close()
    if not whole:
        decode(data, name)


def decode(data: bytes, name: str) -> Image.Image:
    """RGB pixels with EXIF orientation applied; 16-bit grey is scaled to 8 bits, transparency ignored.

    Raises: BadImage.
    """
    from PIL import Image, ImageOps

    image = _header(data, name)
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            upright = upright.convert("I").point(lambda value: value / 256).convert("L")
        elif upright.mode in ("I", "F"):
            raise BadImage(Reason.NOT_AN_IMAGE, f"{name} has {upright.mode}-mode pixels, not grey or colour")
        return upright.convert("RGB")
    except _DECODING as problem:
        raise BadImage(Reason.DAMAGED, f"{name} ({problem})") from problem
    except Image.DecompressionBombError as problem:
        raise BadImage(Reason.TOO_LARGE, name) from problem


def _header(data: bytes, name: str) -> Image.Image:
    """The undecoded image, its kind and declared size checked."""
    from PIL import Image

    _register()

    if data.startswith(_LFS):
        raise BadImage(Reason.LFS_POINTER, f"{name}; run `git lfs pull` in the data folder")
    if data.startswith(_PNG) and len(data) >= 24:  # before Pillow, which would warn on its own
        _refuse_large(struct.unpack(">II", data[16:24]), name)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as problem:
        raise BadImage(Reason.TOO_LARGE, name) from problem
    except _DECODING as problem:
        what = "is empty" if not data else "is none of " + ", ".join(FORMATS)
        if data.startswith(_STARTS):
            raise BadImage(Reason.DAMAGED, f"{name} ({problem})") from problem
        raise BadImage(Reason.NOT_AN_IMAGE, f"{name} {what}") from problem
    _refuse_large(image.size, name)
    return image


@cache
def _register() -> None:
    """Load the decoders of FORMATS, else Pillow would load every one it has."""
    from PIL import (  # noqa: F401
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )


def _refuse_large(size: tuple[int, ...], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadImage(Reason.TOO_LARGE, f"{name} declares {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}")
