"""The same reward where other programs want to call it: TRL's trainer and lm-eval's tasks.

    GRPOTrainer(reward_funcs=[TRLReward("dual", judge="openai:gpt-4o")], ...)
    process_results: !function rewards.adapters.lm_eval_results

Both build a `Sample` from what they are handed and call the one parser and the one set of parts, so their numbers are
those of `python -m rewards.audit` on the same answers. Must not import trl, lm_eval or torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rewards.errors import ImageProblem, UserError
from rewards.parse import parse
from rewards.reward import load
from rewards.stored import AbsentImage
from rewards.types import CONTRACTS, LETTERS, Completion, ImageSource, RewardResult, Sample

if TYPE_CHECKING:
    from PIL import Image

    from rewards.judges.base import Judge
    from rewards.spec import Spec

NEEDED = ("question", "options", "answer_index")
"""Columns that a training set must have; `task id suite group question_type reference facts image(s)` are used too."""


class TRLReward:
    """One async reward callable for TRL >= 1.16: one total for each completion, None where a required part is missing.

    TRL sums several reward functions with nansum, in which a missing judge verdict counts as 0 and punishes the sample;
    therefore all parts go through this one. Part values are logged through `log_extra` (a column each, None is missing)
    and `log_metric` (`reward/PART` mean over those that have a value, `reward/PART/missing` share without).

    Columns: `question`, `options` (texts without letters), `answer_index`; and, where a part needs them, `reference`,
    `facts` (a JSON string or a dict), `images` or `image`, `image_sha256`. `max_completion_tokens` marks a completion
    of that many tokens as cut off ("length"). Picklable.
    """

    def __init__(
        self,
        spec: str | Path | Mapping[str, Any] | Spec,
        judge: str | Judge | None = None,
        penalty: float | None = None,
        judge_settings: Mapping[str, Any] | None = None,
        concurrency: int = 64,
        max_completion_tokens: int | None = None,
    ) -> None:
        self.reward = load(spec, judge, penalty, judge_settings)
        self.concurrency = concurrency
        self.max_completion_tokens = max_completion_tokens
        self.__name__ = self.reward.name

    async def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Totals in the order of `completions`. Raises `UserError` when a needed column is missing."""
        results = await self.results(completions, completion_ids, **columns)
        for place, label in enumerate(self.reward.parts):
            values = [result.scores[place].value for result in results]
            present = [value for value in values if value is not None]
            if log_extra is not None:
                log_extra(label, values)
            if log_metric is not None and values:
                log_metric(f"reward/{label}/missing", 1 - len(present) / len(values))
                if present:
                    log_metric(f"reward/{label}", sum(present) / len(present))
        return [result.total for result in results]

    async def results(
        self, completions: Sequence[Any], completion_ids: Sequence[Sequence[int]] | None = None, **columns: Any
    ) -> list[RewardResult]:
        """The whole result of each completion, in order."""
        missing = [name for name in NEEDED if columns.get(name) is None]
        if missing:
            raise UserError(f"the training set lacks the column(s) {', '.join(missing)} that reward "
                            f"{self.reward.name!r} needs; it has: {', '.join(sorted(columns)) or 'none'}")
        pairs = []
        for place, completion in enumerate(completions):
            row = {name: values[place] for name, values in columns.items()
                   if isinstance(values, list | tuple) and len(values) == len(completions)}
            tokens = None if completion_ids is None else len(completion_ids[place])
            cap = self.max_completion_tokens
            cut = cap is not None and tokens is not None and tokens >= cap
            pairs.append((_sample(row, place), Completion(_text(completion), "length" if cut else "stop",
                                                          tokens_out=tokens)))
        return await self.reward.score_many(pairs, self.concurrency, progress=False)


def lm_eval_results(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """lm-eval's `process_results` for the parts that need no judge: values in {0, 1} for one document.

    `accuracy_strict`, `accuracy_letter`, `accuracy_omnimed`, `parse_rate` (the letter contract read something) and
    `format_rate`. `doc` has `options` and `answer_index`.
    """
    text = results[0]
    parsed = parse(text[0] if isinstance(text, list) else text, doc["options"])
    right = LETTERS[doc["answer_index"]]
    values = {f"accuracy_{name}": float(parsed.letters[name] == right) for name in CONTRACTS}
    values["parse_rate"] = float(parsed.letters["letter"] is not None)
    values["format_rate"] = float(parsed.well_formed)
    return values


@dataclass(slots=True)
class HeldImage:
    """An image that a trainer hands over in memory: a PIL image, or datasets' `{"bytes", "path"}`."""

    held: Any
    _png: bytes | None = field(default=None, repr=False)

    @property
    def sha256(self) -> str:
        """Of `read`."""
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        """The encoded bytes; a decoded image is encoded as PNG, once."""
        if self._png is None:
            if isinstance(self.held, Mapping) and self.held.get("bytes"):
                self._png = bytes(self.held["bytes"])
            elif hasattr(self.held, "save"):
                buffer = BytesIO()
                self.held.save(buffer, format="PNG")
                self._png = buffer.getvalue()
            else:
                raise ImageProblem(f"expected a PIL image or datasets' bytes, got {type(self.held).__name__}")
        return self._png

    def open(self) -> Image.Image:
        """A freshly decoded RGB image."""
        from PIL import Image, ImageOps

        with Image.open(BytesIO(self.read())) as image:
            return ImageOps.exif_transpose(image).convert("RGB")


def _sample(row: Mapping[str, Any], place: int) -> Sample:
    """One row of a training set as a sample."""
    options, index = tuple(str(option) for option in row["options"]), row["answer_index"]
    if not (2 <= len(options) <= len(LETTERS) and isinstance(index, int) and 0 <= index < len(options)):
        raise UserError(f"completion {place}: expected 2 to {len(LETTERS)} options and answer_index among them, "
                        f"got {index!r} of {len(options)}")
    facts = row.get("facts")
    identity = str(row.get("id") or place)
    return Sample(
        suite=str(row.get("suite") or ""), task=str(row.get("task") or ""), id=identity,
        group=str(row.get("group") or identity), question=str(row["question"]), options=options, answer_index=index,
        question_type=str(row.get("question_type") or ""), image=_image(row), subset=str(row.get("subset") or ""),
        split=str(row.get("split") or ""), reference=row.get("reference"),
        facts=json.loads(facts) if isinstance(facts, str) else facts,
    )


def _image(row: Mapping[str, Any]) -> ImageSource:
    held = row.get("image")
    if held is None:
        several = row.get("images")
        held = several[0] if isinstance(several, list | tuple) and several else several
    if held is None:
        return AbsentImage(str(row.get("image_sha256") or ""))
    if hasattr(held, "sha256") and hasattr(held, "read"):
        return cast("ImageSource", held)
    return HeldImage(held)


def _text(completion: Any) -> str:
    """The text of a completion, plain or conversational (the last message; text blocks joined)."""
    if isinstance(completion, str):
        return completion
    if not completion:
        return ""
    content = completion[-1].get("content") if isinstance(completion[-1], Mapping) else None
    if isinstance(content, list):
        return "".join(str(block.get("text") or "") for block in content if block.get("type") == "text")
    return content if isinstance(content, str) else ""
