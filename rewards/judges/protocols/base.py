"""What the protocols share: the judged document, its settings, and the way from a reply to a `Judgement`.

    judgement = await load("events").judge(judge, sample, completion, parsed)
    judgement.values        {"image_features": True, ...}, or None with judgement.failure

A protocol is immutable and picklable; it talks to any object with `async ask(request) -> JudgeReply`.
Must not import a vendor SDK or a tensor library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from string import Template
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from rewards.judges import guard, texts
from rewards.judges.base import Expect, Judge, JudgeReply, JudgeRequest
from rewards.types import LETTERS, Completion, Parsed, Sample


class ProtocolSettings(BaseModel):
    """Settings of every protocol; they are part of a reward's fingerprint.

    `image`: the judge sees the image. `show`: what it is told about the truth, the reference answer (the paper),
    only whether the predicted answer is correct, or nothing. `contract` decides what counts as correct.
    `max_chars` caps the judged text, `max_tokens` the reply, `image_max_side` the image in pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: bool = True
    show: Literal["reference", "correctness", "neither"] = "reference"
    contract: Literal["strict", "letter", "omnimed"] = "letter"
    max_chars: int = Field(default=guard.MAX_CHARS, ge=200, le=200_000)
    max_tokens: int = Field(default=1024, ge=16, le=32_768)
    image_max_side: int = Field(default=1568, ge=28, le=8_000)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One judged answer: `values` by criterion (bool for events, float in [0, 1] otherwise), or None and a `failure`.

    `detail` records how it came about: evidence, flags of the injection detector, rung, model id returned, tokens,
    cost in USD (None: unknown), whether it came from the cache, how many calls were sent.
    """

    values: Mapping[str, Any] | None
    failure: str | None = None
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


class JudgeProtocol:
    """Base of the protocols; a subclass names its texts and describes its verdict."""

    name: ClassVar[str]
    prompt: ClassVar[str]
    rubric: ClassVar[str | None] = None
    code_version: ClassVar[str] = "1"
    """Bumped when the arithmetic or the document changes; prompt and rubric have versions of their own."""
    Settings: ClassVar[type[ProtocolSettings]] = ProtocolSettings

    def __init__(self, settings: ProtocolSettings | None = None) -> None:
        self.settings = settings or self.Settings()

    @property
    def version(self) -> str:
        """Code, prompt and rubric versions in one string, part of every cache key."""
        parts = [f"{self.name}@{self.code_version}", texts.read(self.prompt).version]
        return "/".join(parts + ([texts.read(self.rubric).version] if self.rubric else []))

    def fingerprint(self) -> dict[str, Any]:
        """Everything about this protocol that can change a score: versions, text hashes, settings."""
        names = [self.prompt, "prompts/again.md", *([self.rubric] if self.rubric else [])]
        return {
            "protocol": self.version,
            "texts": {name: texts.read(name).sha256 for name in names},
            "settings": self.settings.model_dump(),
        }

    # what a subclass describes
    def expect(self) -> Expect:
        """The form of the verdict."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """JSON schema of the reply."""
        raise NotImplementedError

    def criteria(self) -> Mapping[str, str]:
        """Question by criterion name, as the prompt shows them."""
        if self.rubric is None:
            return {}
        return {name: " ".join(entry["question"].split()) for name, entry in texts.rubric(self.rubric).items()}

    def values(self, reply: JudgeReply, request: JudgeRequest) -> Judgement:
        """Turn a reply of the stack into a judgement; `request.context` holds chain and correctness."""
        return Judgement(reply.verdict, reply.failure, reply.reason)

    def asks(self) -> int:
        """How often an unusable reply may be asked for: 2, the first time and once more."""
        return 2

    # what all share, computed once
    @cached_property
    def fixed(self) -> tuple[str, str, Expect, dict[str, Any]]:
        """Version, system text, form of the verdict and schema: equal for every answer."""
        return self.version, self.system(), self.expect(), self.schema()

    def system(self) -> str:
        """The fixed rules; they hold no word of the sample."""
        shown = {"reference": ", reference_answer", "correctness": ", predicted_answer_is_correct", "neither": ""}
        return Template(texts.read(self.prompt).body).substitute(
            image_note=", and the image that the question is about" if self.settings.image else "",
            shown_fields=shown[self.settings.show],
            criteria="\n".join(f"- {name}: {question}" for name, question in self.criteria().items()),
            example=json.dumps(self.expect().example),
        )

    def request(
        self, sample: Sample, completion: Completion, parsed: Parsed, repeat: int = 0, label: str = ""
    ) -> JudgeRequest:
        """The request for one answer. Reasoning is the think block, or the whole text where there is none."""
        settings = self.settings
        chain = parsed.think if parsed.think is not None else completion.text
        cleaned = guard.clean(chain, settings.max_chars)
        answer = guard.clean(parsed.answer, 500).text if parsed.answer is not None else None
        correct = parsed.letters.get(settings.contract) == sample.answer_letter
        fields: dict[str, Any] = {
            "question": guard.clean(sample.question, 4_000).text,
            "options": [
                f"{letter}) {guard.clean(option, 1_000).text}"
                for letter, option in zip(LETTERS, sample.options, strict=False)
            ],
            "reasoning": cleaned.text,
            "predicted_answer": answer,
        }
        if cleaned.cut:
            fields["reasoning_was_cut"] = True
        if settings.show == "reference":
            fields["reference_answer"] = guard.clean(sample.answer, 1_000).text
        elif settings.show == "correctness":
            fields["predicted_answer_is_correct"] = correct
        version, system, expect, schema = self.fixed
        return JudgeRequest(
            protocol=self.name,
            version=version,
            system=system,
            user=guard.document(fields),
            expect=expect,
            schema=schema,
            image=sample.image if settings.image else None,
            image_max_side=settings.image_max_side,
            max_tokens=settings.max_tokens,
            repeat=repeat,
            asks=self.asks(),
            context={
                "task": sample.task,
                "facts": sample.facts,
                "question": sample.question,
                "options": list(sample.options),
                "answer_index": sample.answer_index,
                "chain": chain,
                "answer": parsed.answer,
                "letter": parsed.letters.get(settings.contract),
                "correct": correct,
            },
            label=label or sample.id,
            flags=guard.detect(chain, cleaned),
        )

    async def judge(
        self, judge: Judge, sample: Sample, completion: Completion, parsed: Parsed, repeat: int = 0, label: str = ""
    ) -> Judgement:
        """Ask, read, report. A completion without text is not judged: failure "completion-error"."""
        if completion.finish_reason == "error":
            return Judgement(None, "completion-error", completion.error or "the model gave no answer")
        request = self.request(sample, completion, parsed, repeat, label)
        reply = await judge.ask(request)
        judged = self.values(reply, request)
        origin = {
            "model": reply.model, "cached": reply.cached, "calls": reply.calls, "cost_usd": reply.cost_usd,
            "tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out, "flags": list(request.flags),
        }
        return Judgement(judged.values, judged.failure, judged.reason, {**reply.detail, **judged.detail, **origin})
