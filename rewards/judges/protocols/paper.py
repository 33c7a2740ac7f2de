"""`paper`: two floats in JSON, read by the ladder of arXiv 2504.09258, with its fallback policies by name.

The ladder: the reply is JSON; else the content of a markdown fence is; else the fallback; clamp to [0, 1].

    fallback    an unreadable reply gives             source
    missing     None, with the reason (default)       this project: an outage must never train a policy
    paper       0.5 / 0.5 when the predicted answer   the paper (0.5 collides with an honest 1 and 0)
                is right, else 0 / 0
    zero        0 / 0                                 the authors' code
    fail        an exception                          the authors' code

Holes that stay closed under every policy, because a reply that holds them is readable but no grade: NaN and
Infinity (`max(0, min(1, nan))` is 1.0), missing keys (not 0), booleans, duplicate keys. They give missing.
Out-of-range numbers are clamped and noted under the three policies of the paper; under `missing` they are a failure.
No reply at all (outage, budget) is missing under every policy but `fail`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rewards.judges.base import Expect, JudgeError, JudgeReply, JudgeRequest
from rewards.judges.protocols.base import Judgement, JudgeProtocol, ProtocolSettings

LATTICE = (0.0, 0.2, 0.6, 1.0)
"""1 - 0.4 x defects, floor 0: the only values a judge that follows the rubric can give."""

UNREADABLE = frozenset({"empty", "refusal", "truncated", "prose", "invalid-json", "not-an-object"})
"""Failures at which the paper's ladder reaches its third rung."""

NAMES = ("integrity", "knowledge")


class PaperSettings(ProtocolSettings):
    """`fallback`: what an unreadable reply gives, see the module."""

    fallback: Literal["missing", "paper", "zero", "fail"] = "missing"
    max_tokens: int = Field(default=256, ge=16, le=32_768)


class Paper(JudgeProtocol):
    """Values: `{"integrity": float, "knowledge": float}` in [0, 1]."""

    name = "paper"
    prompt = "prompts/paper.md"
    Settings = PaperSettings

    @property
    def fallback(self) -> str:
        """Name of the policy."""
        return self.settings.fallback if isinstance(self.settings, PaperSettings) else "missing"

    def expect(self) -> Expect:
        """Two numbers; the example lies off the lattice, so that copying it is seen."""
        faithful = self.fallback != "missing"
        return Expect(
            "unit", NAMES, clamp=faithful,
            rungs=("json", "fence") if faithful else ("json", "fence", "embedded"),
            example={"integrity": 0.37, "knowledge": 0.73}, lattice=LATTICE,
        )

    def schema(self) -> dict[str, Any]:
        """Two numbers, nothing else; servers differ in whether they enforce a range, so the reader does."""
        return {
            "type": "object",
            "properties": {name: {"type": "number"} for name in NAMES},
            "required": list(NAMES),
            "additionalProperties": False,
        }

    def asks(self) -> int:
        """The authors ask once; with the default policy an unusable reply is asked for once more."""
        return 2 if self.fallback == "missing" else 1

    def values(self, reply: JudgeReply, request: JudgeRequest) -> Judgement:
        """Apply the fallback. Raises `JudgeError` under the policy "fail"."""
        if reply.failure is None:
            return Judgement(reply.verdict)
        if self.fallback == "fail":
            raise JudgeError(reply.failure, f"{reply.reason} (fallback policy: fail)")
        if self.fallback == "missing" or reply.failure not in UNREADABLE:
            return Judgement(None, reply.failure, reply.reason)
        value = 0.5 if self.fallback == "paper" and request.context["correct"] else 0.0
        detail = {"fallback": self.fallback, "fallback_for": reply.failure}
        return Judgement(dict.fromkeys(NAMES, value), None, f"fallback {self.fallback}: {reply.reason}", detail)
