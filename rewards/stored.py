"""Stored answers as objects again: a row of `samples.jsonl` becomes a `Sample` and a `Completion`.

>>> row = {"suite": "s", "task": "path", "id": "1", "question": "?", "options": ["a", "b"], "answer_index": 1,
...        "image_sha256": "00", "completion": "<answer>B) b</answer>", "finish_reason": "stop"}
>>> sample_from_row(row).answer, completion_from_row(row).text
('B) b', '<answer>B) b</answer>')

A row names its image by content. Whoever has the images hands in `images`: a callable from the row to an `ImageSource`
or None, for example `folder_images(path)`, or one that an installed package offers under its suite's name in the
entry-point group `pathvlm_bench.images`. A row without an image can still be scored by every part that does not look
at it; opening `AbsentImage` is an `ImageProblem`. Must not import `tasks`: rows carry what a reward needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewards.errors import ImageProblem, UserError
from rewards.types import LETTERS, Completion, ImageSource, Sample

if TYPE_CHECKING:
    from PIL import Image

GROUP = "pathvlm_bench.images"

Images = Callable[[Mapping[str, Any]], "ImageSource | None"]

_NEEDED = ("task", "id", "question", "options", "answer_index", "completion")
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class AbsentImage:
    """An image that is known by its hash only."""

    sha256: str

    def read(self) -> bytes:
        """Raises `ImageProblem`."""
        raise ImageProblem(f"image {self.sha256[:12]} is not at hand: stored answers name images by content only")

    def open(self) -> Image.Image:
        """Raises `ImageProblem`."""
        self.read()
        raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image file, opened on use."""

    path: Path
    sha256: str

    def read(self) -> bytes:
        """The file's bytes. Raises `ImageProblem` when it is gone or was changed."""
        try:
            content = self.path.read_bytes()
        except OSError as problem:
            raise ImageProblem(f"image {self.path.name}: {problem.strerror}") from problem
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ImageProblem(f"image {self.path.name} was changed while it was in use")
        return content

    def open(self) -> Image.Image:
        """A freshly decoded RGB image, EXIF orientation applied. Raises `ImageProblem`."""
        from PIL import Image, ImageOps

        try:
            with Image.open(BytesIO(self.read())) as image:
                return ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError) as problem:
            raise ImageProblem(f"image {self.path.name} cannot be decoded: {problem}") from problem


def sample_from_row(row: Mapping[str, Any], images: Images | None = None) -> Sample:
    """The sample that a stored row answers. Raises `UserError` when the row lacks what a reward needs."""
    missing = [key for key in _NEEDED if key not in row]
    if missing:
        raise UserError(f"a row of samples.jsonl lacks {', '.join(missing)}; it has: {', '.join(sorted(row))}")
    options, index = row["options"], row["answer_index"]
    if not (isinstance(options, list | tuple) and 2 <= len(options) <= len(LETTERS)
            and isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(options)):
        raise UserError(f"row {row['id']!r} of samples.jsonl: expected 2 to {len(LETTERS)} options and answer_index "
                        f"among them, got {index!r} of {len(options) if isinstance(options, list) else options!r}")
    digest = str(row.get("image_sha256") or "")
    found = images(row) if images is not None else _from_packages(row)
    return Sample(
        suite=str(row.get("suite") or ""), task=str(row["task"]), id=str(row["id"]),
        group=str(row.get("group") or row["id"]), question=str(row["question"]),
        options=tuple(str(option) for option in options), answer_index=index,
        question_type=str(row.get("question_type") or ""), image=AbsentImage(digest) if found is None else found,
        subset=str(row.get("subset") or ""), split=str(row.get("split") or ""),
        reference=row.get("reference"), facts=row.get("facts"),
    )


def completion_from_row(row: Mapping[str, Any]) -> Completion:
    """The stored answer."""
    return Completion(
        text=row["completion"] or "", finish_reason=row.get("finish_reason") or "stop", tokens_in=row.get("tokens_in"),
        tokens_out=row.get("tokens_out"), latency_s=row.get("latency_s"), error=row.get("error"),
    )


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """JSON objects of a file, one a line; a torn last line, which a killed run leaves, is passed over.

    Raises `UserError` naming file and line for anything else that is no object.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("not a JSON object")
                except ValueError as problem:
                    if not line.endswith("\n"):
                        return
                    raise UserError(f"{path}, line {number}: {problem}; expected one JSON object a line") from None
                yield row
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"cannot read {path}: {problem}") from None


def folder_images(folder: Path) -> Images:
    """Images of a folder by content: every image file below it is hashed once, on first use."""
    if not folder.is_dir():
        raise UserError(f"no image folder {str(folder)!r}")
    index: dict[str, Path] = {}

    def find(row: Mapping[str, Any]) -> ImageSource | None:
        if not index:
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in _SUFFIXES and path.is_file():
                    index.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
        digest = str(row.get("image_sha256") or "")
        return StoredImage(index[digest], digest) if digest in index else None

    return find


def _from_packages(row: Mapping[str, Any]) -> ImageSource | None:
    """The image that the package of the row's suite draws or finds, None without such a package."""
    for entry in metadata.entry_points(group=GROUP, name=str(row.get("suite") or "")):
        found: ImageSource | None = entry.load()(row)
        return found
    return None
