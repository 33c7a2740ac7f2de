"""The nouns of the project, shared by every room; frozen, no behaviour beyond reading themselves.

>>> c = Completion(text="<answer>B) no</answer>", finish_reason="stop", tokens_in=10, tokens_out=5, latency_s=0.1)
>>> c.error is None
True

Sits in the lowest room so that `tasks`, `bench`, `trainers` and `leaderboards` can all import it.
Must not import torch, transformers, trl, lm_eval, openai or anthropic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from PIL import Image

LETTERS = "ABCDEFGHIJ"
"""Option letters; a question has two to ten options."""

CONTRACTS = ("strict", "letter", "omnimed")
"""Extraction contracts in the order they are reported; `letter` is the default one."""

FinishReason = Literal["stop", "length", "error"]


class ImageSource(Protocol):
    """A lazily opened image. Holding one costs neither pixels nor a file handle."""

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes (for drawn images: of the PNG that `read` returns)."""

    def read(self) -> bytes:
        """The encoded bytes (PNG or JPEG as stored)."""

    def open(self) -> Image.Image:
        """A freshly decoded RGB image, EXIF orientation applied. Raises `ImageProblem`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One multiple-choice question about one image.

    `options` are the option texts without letters (2 to 10). `group` is the unit of resampling: the image's
    content hash, or a case id where the data names one. `reference` is the reasoning shipped with the data,
    None where there is none. `facts` is the known truth of a phantom image, None for every real suite.
    Ids and paths never reach a prompt.
    """

    suite: str
    task: str
    id: str
    group: str
    question: str
    options: tuple[str, ...]
    answer_index: int
    question_type: str
    image: ImageSource
    subset: str = ""
    split: str = ""
    reference: str | None = None
    facts: Mapping[str, Any] | None = None

    @property
    def answer_letter(self) -> str:
        """Letter of the right option, "A" for index 0."""
        return LETTERS[self.answer_index]

    @property
    def answer(self) -> str:
        """The right option as the paper writes it: "B) option text"."""
        return f"{self.answer_letter}) {self.options[self.answer_index]}"

    @property
    def image_sha256(self) -> str:
        """Content hash of the image's bytes."""
        return self.image.sha256


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model returned for one prompt.

    `finish_reason` is "length" when the token cap ended it and "error" when there is no usable text; then
    `error` says why. Token counts and latency are None where the backend does not tell.
    """

    text: str
    finish_reason: FinishReason
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """One completion as read by every extraction contract (`rewards.parse.parse`).

    `think` and `answer` are the inner texts of the blocks, None where there is none. `letters` holds, for each
    contract, the letter it read or None; never a guess. `problem` names why the default contract read nothing,
    None when it did.
    """

    think: str | None
    answer: str | None
    well_formed: bool
    letters: Mapping[str, str | None]
    problem: str | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """One part's verdict on one completion: `value` in [0, 1], or None with `failure` naming why it is missing."""

    part: str
    value: float | None
    reason: str = ""
    failure: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RewardResult:
    """All parts of one reward for one completion. `total` is None when a required part is missing.

    `usage` is what judges cost for it: calls, tokens_in, tokens_out, cost_usd (None: unknown), cached, models; empty
    where no judge was asked.
    """

    total: float | None
    scores: tuple[Score, ...]
    fingerprint: str
    usage: Mapping[str, Any] = field(default_factory=dict)
