"""`events`, the default protocol: six yes/no events, evidence quoted before each verdict, arithmetic in code.

>>> clean = {name: event["defect_when"] == "no" for name, event in rubric_events().items()}
>>> scores(clean), scores({**clean, "contradiction": True}, penalty=0.3)
({'integrity': 1.0, 'knowledge': 1.0}, {'integrity': 1.0, 'knowledge': 0.7})

Source of the events and of the 0.4: arXiv 2504.09258. Because the penalty is applied here, a sweep over penalties
costs no judge call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewards.judges import guard, texts
from rewards.judges.base import Expect, JudgeReply, JudgeRequest
from rewards.judges.protocols.base import Judgement, JudgeProtocol

RUBRIC = "rubrics/process.toml"
DIMENSIONS = ("integrity", "knowledge")
EXAMPLE_EVIDENCE = "<words copied from the reasoning>"


def rubric_events() -> dict[str, Any]:
    """The six events by name, each with `dimension`, `defect_when` ("yes" or "no") and `question`."""
    return texts.rubric(RUBRIC)


def defects(events: Mapping[str, bool]) -> dict[str, list[str]]:
    """Names of the events that cost a penalty, by dimension; `events[name]` is True for "yes"."""
    found: dict[str, list[str]] = {dimension: [] for dimension in DIMENSIONS}
    for name, entry in rubric_events().items():
        if events[name] == (entry["defect_when"] == "yes"):
            found[entry["dimension"]].append(name)
    return found


def scores(events: Mapping[str, bool], penalty: float = 0.4) -> dict[str, float]:
    """Integrity and knowledge in [0, 1]: each starts at 1 and loses `penalty` per defect, floor 0."""
    return {
        dimension: round(max(0.0, 1.0 - penalty * len(names)), 10) for dimension, names in defects(events).items()
    }


def quoted(evidence: str, chain: str) -> bool:
    """True when every fragment of the evidence (split at "...") stands in the chain, white space and case aside."""
    haystack = " ".join(chain.lower().split())
    fragments = [" ".join(part.lower().split()).strip("\"' ") for part in evidence.replace("…", "...").split("...")]
    fragments = [part for part in fragments if part]
    return bool(fragments) and all(part in haystack for part in fragments)


class Events(JudgeProtocol):
    """Values: `{event: bool}`, True for "yes". `detail["unquoted"]`: "yes" events whose quote is not in the chain."""

    name = "events"
    prompt = "prompts/events.md"
    rubric = RUBRIC

    def expect(self) -> Expect:
        """Six events; the example's evidence is a placeholder that no honest judge returns."""
        names = tuple(rubric_events())
        return Expect("events", names, example={n: {"evidence": EXAMPLE_EVIDENCE, "verdict": "yes"} for n in names})

    def schema(self) -> dict[str, Any]:
        """Evidence stands before verdict: servers that enforce a schema generate keys in this order."""
        event = {
            "type": "object",
            "properties": {"evidence": {"type": "string"}, "verdict": {"type": "string", "enum": ["yes", "no"]}},
            "required": ["evidence", "verdict"],
            "additionalProperties": False,
        }
        names = list(rubric_events())
        return {
            "type": "object",
            "properties": dict.fromkeys(names, event),
            "required": names,
            "additionalProperties": False,
        }

    def values(self, reply: JudgeReply, request: JudgeRequest) -> Judgement:
        """Events as they were given; a "yes" whose quote is not in the chain is noted, it changes nothing."""
        if reply.verdict is None:
            return Judgement(None, reply.failure, reply.reason)
        shown = guard.clean(request.context["chain"], self.settings.max_chars).text
        evidence = reply.detail.get("evidence", {})
        unquoted = [
            name for name, yes in reply.verdict.items()
            if yes and not quoted(guard.clean(evidence.get(name, "")).text, shown)
        ]
        return Judgement(reply.verdict, detail={"unquoted": unquoted})
