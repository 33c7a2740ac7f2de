"""The one object that scores: training, evaluation and the audit call it through thin adapters.

    reward = load("dual", judge="openai:gpt-4o", judge_settings={"cache": "cache.sqlite"})
    result = await reward.score(sample, completion)        # RewardResult(total, scores, fingerprint, usage)
    async for result in reward.score_many(pairs, concurrency=64): ...
    results = await reward.score_many(pairs)
    await reward.aclose()

`load` is the only constructor. A `Reward` is immutable and picklable; its `fingerprint` names everything that can
change a number. Must not import a vendor SDK or a tensor library.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rewards import registry
from rewards.composite import total
from rewards.errors import UserError
from rewards.judges.base import Judge, JudgeError
from rewards.judges.protocols import load as load_protocol
from rewards.many import Many
from rewards.parse import VERSION as PARSER_VERSION
from rewards.parse import parse
from rewards.process import Judgement, Judging
from rewards.registry import JudgedPart, Part
from rewards.spec import Group, Spec, read
from rewards.types import Completion, Parsed, RewardResult, Sample, Score

VERSION = "1"
"""Of the composition; bumped with every change that can move a total."""

_ORIGIN = ("model", "flags", "rung", "clamped", "fallback", "fallback_for", "first_failure")


def load(
    spec: str | Path | Mapping[str, Any] | Spec,
    judge: str | Judge | None = None,
    penalty: float | None = None,
    judge_settings: Mapping[str, Any] | None = None,
) -> Reward:
    """A reward from a shipped name, a TOML file or a dict. Raises `UserError`.

    `judge` is a reference such as "rules" or "openai:MODEL@URL", or any object with `async ask(request)`; without one
    the spec's own `judge.ref` counts. `penalty` replaces the penalty of every part that has one. `judge_settings`
    (cache, ledger, concurrency, ...) belong to a judge named by reference.
    """
    made = read(spec, penalty)
    chosen = made.judge.ref if judge is None else judge
    if isinstance(chosen, str):
        from rewards.judges import resolve

        return Reward(made, resolve(chosen, **(judge_settings or {})))
    if judge_settings:
        raise UserError("judge settings were given, but no judge is named by reference")
    return Reward(made, chosen)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One part at its place: `label` is its name in results."""

    label: str
    part: Part


class Reward:
    """Parts, how they are combined, and the judge that some of them need. Made by `load`."""

    def __init__(self, spec: Spec, judge: Judge | None = None) -> None:
        self.spec = spec
        self.judge = judge
        self._leaves = tuple(_Leaf(label, _part(spec, label)) for label in _labels(spec))
        self._judgings: dict[str, Judging] = {}
        for leaf in self._leaves:
            if isinstance(leaf.part, JudgedPart) and leaf.part.judging not in self._judgings:
                self._judgings[leaf.part.judging] = _judging(spec, leaf.part.judging)
        self._flat = tuple(label for label, _ in _walk(spec)) == tuple(spec.parts)
        self.waits = bool(self._judgings) or any(leaf.part.waits for leaf in self._leaves)
        self.fingerprint = self._fingerprint()

    @property
    def name(self) -> str:
        """The spec's name."""
        return self.spec.name

    @property
    def parts(self) -> tuple[str, ...]:
        """Labels of all scores in a result, in order; groups stand after their members."""
        return tuple(label for label, _ in _walk(self.spec))

    @property
    def judged(self) -> tuple[str, ...]:
        """Labels of the parts that need a judge."""
        return tuple(leaf.label for leaf in self._leaves if isinstance(leaf.part, JudgedPart))

    @property
    def shows_images(self) -> bool:
        """True when some judge protocol of this reward sends the image."""
        return any(judging.fingerprint()["settings"].get("image", False) for judging in self._judgings.values())

    @property
    def judge_identity(self) -> Any:
        """Who judges (JSON-able), None without judged parts or without a judge."""
        return _identity(self.judge) if self._judgings and self.judge is not None else None

    async def score(self, sample: Sample, completion: Completion | str) -> RewardResult:
        """All parts of one answer. Raises `UserError` when a judge is needed and none was named, or refuses the key.

        Everything else that goes wrong is a missing score with a reason. An answer that ended in an error has no
        score at all (failure "completion-error").
        """
        if isinstance(completion, str):
            completion = Completion(completion, "stop")
        if completion.finish_reason == "error":
            reason = completion.error or "the model gave no answer"
            return self._result({leaf.label: Score(leaf.label, None, reason, "completion-error")
                                 for leaf in self._leaves}, {})
        parsed = parse(completion.text, sample.options)
        judgements = await self._ask(sample, completion, parsed) if self._judgings else {}
        scores = {}
        for leaf in self._leaves:
            scores[leaf.label] = await _score(leaf, sample, parsed, completion, judgements)
        return self._result(scores, judgements)

    def score_many(
        self,
        pairs: Iterable[tuple[Sample, Completion | str]] | AsyncIterable[tuple[Sample, Completion | str]],
        concurrency: int = 64,
        progress: bool | None = None,
    ) -> Many:
        """Results in the order of `pairs`, at most `concurrency` at a time: `async for`, or `await` for a list.

        Pairs are drawn as they are needed, so memory does not grow with their number. `progress` None shows a bar
        when standard error is a terminal.
        """
        return Many(self.score, pairs, concurrency if self.waits else 1, progress, f"scoring {self.name}")

    async def aclose(self) -> None:
        """Close what the judge opened; the reward may be used again afterwards."""
        close = getattr(self.judge, "aclose", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> Reward:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Reward {self.name!r} {self.fingerprint}>"

    async def _ask(self, sample: Sample, completion: Completion, parsed: Parsed) -> dict[str, Judgement]:
        """One verdict for each kind of judging, asked at the same time."""
        judge = self.judge
        if judge is None:
            raise UserError(
                f"reward {self.name!r} has judged parts ({', '.join(self.judged)}): name a judge, for example rules "
                "(phantom data only) or openai:MODEL"
            )
        asked = [_verdict(judging, judge, sample, completion, parsed) for judging in self._judgings.values()]
        verdicts = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        return dict(zip(self._judgings, verdicts, strict=True))

    def _result(self, scores: dict[str, Score], judgements: Mapping[str, Judgement]) -> RewardResult:
        usage = _usage(judgements) if judgements else {}
        if self._flat:
            values = {label: score.value for label, score in scores.items()}
            return RewardResult(total(self.spec, values), tuple(scores.values()), self.fingerprint, usage)
        whole = _grouped(self.spec, "", scores)
        return RewardResult(whole, tuple(scores[label] for label in self.parts), self.fingerprint, usage)

    def _fingerprint(self) -> str:
        made = {
            "spec": self.spec.model_dump(mode="json", exclude={"name", "judge"}),
            "parts": {leaf.label: [leaf.part.name, leaf.part.version] for leaf in self._leaves},
            "composition": VERSION,
            "parser": PARSER_VERSION,
            "protocols": {kind: judging.fingerprint() for kind, judging in self._judgings.items()},
            "judge": self.judge_identity,
        }
        return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def _walk(group: Group, path: str = "") -> list[tuple[str, Any]]:
    """(label, member) of everything inside, members before their group; labels inside a group are dotted."""
    found: list[tuple[str, Any]] = []
    for label, member in group.parts.items():
        if isinstance(member, Group):
            found += _walk(member, f"{path}{label}.")
        found.append((path + label, member))
    return found


def _labels(spec: Spec) -> list[str]:
    return [label for label, member in _walk(spec) if not isinstance(member, Group)]


def _part(spec: Spec, label: str) -> Part:
    entry = dict(_walk(spec))[label]
    cls = registry.find(entry.part)
    return cls(cls.Settings(**entry.settings))


def _judging(spec: Spec, kind: str) -> Judging:
    if kind == "quality":
        return load_protocol("quality", **spec.judge.quality)
    return load_protocol(spec.judge.protocol, **spec.judge.settings)


def _identity(judge: Any) -> Any:
    """What the judge calls itself; the class of one that says nothing."""
    identity = getattr(judge, "identity", None)
    return identity() if callable(identity) else f"{type(judge).__module__}.{type(judge).__qualname__}"


async def _verdict(
    judging: Judging, judge: Judge, sample: Sample, completion: Completion, parsed: Parsed
) -> Judgement:
    try:
        return await judging.judge(judge, sample, completion, parsed)
    except (UserError, JudgeError):
        raise
    except Exception as problem:  # noqa: BLE001 - a fault of one judge costs its verdicts, not the batch
        return Judgement(None, "judge-error", f"{type(problem).__name__}: {problem}")


async def _score(
    leaf: _Leaf, sample: Sample, parsed: Parsed, completion: Completion, judgements: Mapping[str, Judgement]
) -> Score:
    part, label = leaf.part, leaf.label
    try:
        if isinstance(part, JudgedPart):
            judged = judgements[part.judging]
            if judged.values is None:
                return Score(label, None, judged.reason, judged.failure or "no-verdict", _origin(judged))
            score = part.read(judged)
            score = replace(score, detail={**score.detail, **_origin(judged)})
        else:
            score = await part.score(sample, parsed, completion)
    except UserError:
        raise
    except Exception as problem:  # noqa: BLE001 - a fault in one part costs its verdict, not the batch
        return Score(label, None, f"{type(problem).__name__}: {problem}", "part-error")
    value = score.value
    if value is None:
        return replace(score, part=label, failure=score.failure or "no-reason-given")
    if not (isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1):
        return Score(label, None, f"part {part.name!r} gave {value!r}, which is not in [0, 1]", "out-of-range")
    return score if score.part == label else replace(score, part=label)


def _origin(judgement: Judgement) -> dict[str, Any]:
    return {key: judgement.detail[key] for key in _ORIGIN if judgement.detail.get(key)}


def _grouped(group: Group, path: str, scores: dict[str, Score]) -> float | None:
    """The total of a group; scores of nested groups are added on the way."""
    values: dict[str, float | None] = {}
    for label, member in group.parts.items():
        full = path + label
        if isinstance(member, Group):
            value = _grouped(member, f"{full}.", scores)
            failure = None if value is not None else "member-missing"
            scores[full] = Score(full, value, "", failure, {"combine": member.combine})
        values[label] = scores[full].value
    return total(group, values)


def _usage(judgements: Mapping[str, Judgement]) -> dict[str, Any]:
    """What the judges cost for one answer; None where a figure is not known."""
    details = [judgement.detail for judgement in judgements.values() if "calls" in judgement.detail]
    made: dict[str, Any] = {"calls": sum(detail["calls"] for detail in details)}
    for key in ("tokens_in", "tokens_out", "cost_usd"):
        known = [detail.get(key) for detail in details]
        made[key] = None if not known or None in known else sum(known)
    made["cached"] = bool(details) and all(detail.get("cached") for detail in details)
    made["models"] = sorted({detail["model"] for detail in details if detail.get("model")})
    return made
