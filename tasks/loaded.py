"""What a loader hands back: the usable samples, the rows it left out with a reason, and a hash of what it read.

>>> Dropped("path", "PubMed-test-7", Reason.MISSING_IMAGE, "a.png").reason.value
'missing image'

Every loader in this room returns a `Loaded`. Must not import PIL or any library outside the standard one.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rewards.errors import PathVLMError
from rewards.types import Sample


class Reason(StrEnum):
    """Why a row cannot be used; the value is what people read in reports."""

    MALFORMED = "malformed row"
    NO_QUESTION = "no question"
    NO_OPTIONS = "no options"
    TOO_FEW_OPTIONS = "fewer than two options"
    TOO_MANY_OPTIONS = "more than ten options"
    EMPTY_OPTION = "empty option"
    REPEATED_OPTION = "repeated option"
    NO_ANSWER = "no answer"
    ANSWER_NOT_OFFERED = "answer not among the options"
    ANSWER_DISAGREES = "answer letter and text disagree"
    NO_IMAGE_NAMED = "no image named"
    MISSING_IMAGE = "missing image"
    OUTSIDE = "image path leaves the data folder"
    NOT_AN_IMAGE = "not an image"
    DAMAGED = "damaged image"
    TOO_LARGE = "image too large"
    LFS_POINTER = "Git LFS pointer instead of the image"
    UNREADABLE = "unreadable file"
    CHANGED = "image changed since it was loaded"
    DUPLICATE = "row repeated"


class RowError(PathVLMError):
    """One row cannot be used. Internal to the loaders: it becomes a `Dropped`, never an abort."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row left out: which task and row, why, and what was found (file name, answer text)."""

    task: str
    id: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Samples of one task in file order, the rows left out, and `data_sha256` over everything that can change a score.

    With a limit, reading stops as soon as it is reached: `dropped` then names only rows met until there.
    """

    samples: list[Sample]
    dropped: list[Dropped]
    data_sha256: str
    suite: str

    def reasons(self) -> dict[str, int]:
        """Number of rows left out by reason, most frequent first."""
        return {reason.value: n for reason, n in Counter(d.reason for d in self.dropped).most_common()}


def digest(samples: Iterable[Sample]) -> str:
    """Hex sha256 over id, split, question, options, answer and image content of the samples, in order.

    File names and folders are left out on purpose: a moved or renamed copy of the same data hashes the same.
    """
    hasher = hashlib.sha256()
    for s in samples:
        row = [s.suite, s.task, s.id, s.subset, s.split, s.question_type, s.question, list(s.options), s.answer_index,
               s.image_sha256]
        hasher.update(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return hasher.hexdigest()


def finish(samples: list[Sample], dropped: list[Dropped], suite: str) -> Loaded:
    """Seal a list of samples into a `Loaded`."""
    return Loaded(samples, dropped, digest(samples), suite)
