"""`rules`: the judge without a model. It checks a phantom chain against the facts of its image.

    python -m rewards.audit runs/tiny/samples.jsonl --reward dual --judge rules

It answers the protocols `events` (six events with the words that decide them) and `paper` (two numbers by the paper's
arithmetic), costs nothing and is right wherever it answers: what it cannot tell is a missing verdict with the sentence
that it did not understand, never a guess. It reads nothing but the sample's own facts, so it refuses real data.
Found through the entry-point group `pathvlm_bench.judges`. Must not import torch or anything of `bench`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rewards.errors import UserError
from rewards.judges.base import JudgeBackend, JudgeError, JudgeReply, JudgeRequest
from rewards.judges.registry import judge_backend
from tasks.phantom.defects import EVENTS, score
from tasks.phantom.questions import from_facts
from tasks.phantom.reader import Reading, read


@judge_backend("rules")
class Rules(JudgeBackend):
    """The rule reader as a judge backend; the image in a request is ignored, the facts stand for it."""

    version = "1"
    sees_images = True
    in_process = True
    reads_context = True

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        """The verdict of the rule reader.

        Raises:
            JudgeError: "cannot-tell", with the first sentence that was not understood.
            UserError: the sample has no phantom facts, or the protocol asks what rules cannot answer.
        """
        expect = request.expect
        if not (set(expect.names) == set(EVENTS) if expect.kind == "events" else
                set(expect.names) == {"integrity", "knowledge"}):
            raise UserError(f"judge 'rules' answers the protocols events and paper, not {request.protocol!r}; "
                            "choose a judge with a model for it")
        facts = request.context.get("facts")
        if not isinstance(facts, Mapping) or "question" not in facts:
            raise UserError(f"judge 'rules' checks phantom reasoning against known facts, and "
                            f"{request.label or 'this sample'} has none; use --data phantom or a judge with a model")
        question = from_facts(facts)
        chain = str(request.context["chain"])
        reading = read(chain, question, request.context.get("letter"))
        if not reading.certain:
            raise JudgeError("cannot-tell", _why(reading, chain))
        events = {name: bool(reading.events[name]) for name in EVENTS}
        if expect.kind == "events":
            verdict: Mapping[str, Any] = {
                name: {"evidence": _quote(reading, name, chain), "verdict": "yes" if events[name] else "no"}
                for name in expect.names
            }
        else:
            verdict = dict(zip(("integrity", "knowledge"), score(events), strict=True))
        return JudgeReply(text=json.dumps(verdict), model=f"rules-{self.version}", tokens_in=0, tokens_out=0,
                          cost_usd=0.0)


def _quote(reading: Reading, name: str, chain: str) -> str:
    """The deciding passages, parted by "..."."""
    return " ... ".join(chain[start:end].strip() for start, end in reading.evidence[name])


def _why(reading: Reading, chain: str) -> str:
    open_events = ", ".join(name for name, value in reading.events.items() if value is None)
    start, end = reading.unread[0]
    return f"{open_events}: not understood: {chain[start:end].strip()[:120]!r}"
