"""What the stack makes of a reply: its verdict read, asked for again, or the name of why there is none.

    reply = judged(await backend.ask(request), request)
    if reply.failure: reply = summed(reply, judged(await backend.ask(again(request, reply)), request))

Pure functions; the calls are made in `stack.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from string import Template
from typing import Any

from rewards.judges import texts, verdict
from rewards.judges.base import JudgeReply, JudgeRequest


def plain(value: Any) -> Any:
    """Facts may be any mapping or tuple-like; anything else in a request is a fault of the caller."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a judge request holds a {type(value).__name__}, which has no JSON form")


def kept(stored: Mapping[str, Any]) -> JudgeReply:
    """A reply from the cache: it was paid for when it came, and costs nothing now."""
    return replace(JudgeReply(**stored), cached=True, cost_usd=0.0)


def failed(failure: str, reason: str) -> JudgeReply:
    """No reply at all: an outage, a budget, a replay without its reply."""
    return JudgeReply(failure=failure, reason=reason, detail={"no_reply": True})


def judged(reply: JudgeReply, request: JudgeRequest) -> JudgeReply:
    """The reply with its verdict read, or with the name of what is wrong with it."""
    if reply.failure is not None:
        return reply
    read = verdict.read(reply.text, request.expect, reply.finish_reason)
    detail: dict[str, Any] = dict(reply.detail)
    if read.rung:
        detail["rung"] = read.rung
    if read.evidence:
        detail["evidence"] = dict(read.evidence)
    if read.clamped:
        detail["clamped"] = list(read.clamped)
    return replace(reply, verdict=read.values, failure=read.failure, reason=read.reason, detail=detail)


def again(request: JudgeRequest, first: JudgeReply) -> JudgeRequest:
    """The same request with a note about what was wrong; the unusable reply itself is not shown again."""
    note = Template(texts.read("prompts/again.md").body).substitute(failure=first.failure)
    more = 2 if first.failure == "truncated" else 1
    return replace(request, system=f"{request.system}\n\n{note}", max_tokens=request.max_tokens * more)


def summed(first: JudgeReply, second: JudgeReply) -> JudgeReply:
    """The second reply with the calls, tokens and money of both."""

    def both(a: float | None, b: float | None) -> Any:
        return None if a is None or b is None else a + b

    detail = {**second.detail, "first_failure": first.failure}
    if second.detail.get("no_reply"):
        # the first reply is what this run knows about the answer; the outage decides whether to ask again later
        return replace(second, calls=first.calls + second.calls, detail=detail)
    return replace(
        second, detail=detail, calls=first.calls + second.calls, cached=first.cached and second.cached,
        tokens_in=both(first.tokens_in, second.tokens_in), tokens_out=both(first.tokens_out, second.tokens_out),
        cost_usd=both(first.cost_usd, second.cost_usd),
    )
