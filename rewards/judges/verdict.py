"""From a judge's text to a verdict, or to the name of what is wrong with it; never a number by regular expression.

>>> read('{"integrity": 0.6, "knowledge": 1}', Expect("unit", ("integrity", "knowledge"))).values
{'integrity': 0.6, 'knowledge': 1.0}
>>> read('{"integrity": NaN, "knowledge": 1}', Expect("unit", ("integrity", "knowledge"))).failure
'not-finite'

Rungs, tried in this order: "json" (the whole text is one JSON object), "fence" (the whole content of one markdown
fence is), "embedded" (the last balanced object in the text that has exactly the expected keys).
Failures: empty, refusal, truncated, prose, invalid-json, not-an-object, duplicate-keys, missing-keys,
unexpected-keys, not-finite, boolean-as-number, out-of-range, wrong-type.
Standard library only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rewards.judges.base import Expect

MAX_CHARS = 100_000
"""A longer reply is read from its end: the verdict stands last, and a runaway judge must not cost minutes."""

_FENCE = re.compile(r"```[A-Za-z0-9]*[ \t]*\n(.*?)```", re.DOTALL)
_REFUSAL = re.compile(
    r"\bI(?:'m| am) (?:sorry|unable|not able)\b"
    r"|\bI (?:can(?:no|')t|cannot|won't) (?:help|assist|comply|grade|evaluate|provide)",
    re.IGNORECASE,
)
_MAX_CANDIDATES = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """`values` by criterion ("yes"/"no" as bool for events, floats for unit), or None and a `failure` with a reason.

    `rung` says how it was read; `evidence` holds the quotes of an events verdict; `clamped` the names whose number
    lay outside [0, 1].
    """

    values: Mapping[str, Any] | None
    failure: str | None = None
    reason: str = ""
    rung: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)
    clamped: tuple[str, ...] = ()


class _BadError(ValueError):
    def __init__(self, failure: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [key for key, _ in pairs]
        raise _BadError("duplicate-keys", f"the key {next(k for k in names if names.count(k) > 1)!r} appears twice")
    return out


def _constant(name: str) -> float:
    raise _BadError("not-finite", f"{name} is not a number in [0, 1]")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def _decode(text: str) -> Any:
    try:
        value, end = _DECODER.raw_decode(text)
    except _BadError:
        raise
    except (ValueError, RecursionError) as problem:  # ValueError: also an integer of more than 4,300 digits
        raise _BadError("invalid-json", str(problem)[:120]) from None
    if text[end:].strip():
        raise _BadError("invalid-json", "there is text after the JSON value")
    return value


def _unit(name: str, value: Any, expect: Expect, clamped: list[str]) -> float:
    if isinstance(value, bool):
        raise _BadError("boolean-as-number", f"{name} is {str(value).lower()}, a number in [0, 1] was expected")
    if not isinstance(value, int | float):
        raise _BadError("wrong-type", f"{name} is of type {type(value).__name__}, a number in [0, 1] was expected")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):  # 1e999 passes parse_constant
        raise _BadError("not-finite", f"{name} is not finite")
    if 0.0 <= number <= 1.0:
        return number
    if not expect.clamp:
        raise _BadError("out-of-range", f"{name} is {number:g}, outside [0, 1]")
    clamped.append(name)
    return max(0.0, min(1.0, number))


def _event(name: str, value: Any, evidence: dict[str, str]) -> bool:
    if not isinstance(value, dict):
        raise _BadError("wrong-type", f"{name} is of type {type(value).__name__}, an object was expected")
    _same_keys(value, ("evidence", "verdict"), f"{name}: ")
    if not isinstance(value["evidence"], str):
        raise _BadError("wrong-type", f"{name}: evidence is no text")
    if value["verdict"] not in ("yes", "no") or not isinstance(value["verdict"], str):
        given = str(value["verdict"])[:20]
        raise _BadError("wrong-type", f'{name}: the verdict is {given!r}, "yes" or "no" was expected')
    evidence[name] = value["evidence"]
    return value["verdict"] == "yes"


def _same_keys(value: dict[str, Any], names: tuple[str, ...], where: str = "") -> None:
    missing = [name for name in names if name not in value]
    if missing:
        raise _BadError("missing-keys", f"{where}missing {', '.join(missing)}")
    extra = [key for key in value if key not in names]
    if extra:
        raise _BadError("unexpected-keys", f"{where}unexpected {', '.join(str(key)[:30] for key in extra[:3])}")


def _validate(value: Any, expect: Expect, rung: str) -> Verdict:
    if not isinstance(value, dict):
        raise _BadError("not-an-object", f"the JSON value is of type {type(value).__name__}")
    _same_keys(value, expect.names)
    clamped: list[str] = []
    evidence: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name in expect.names:
        if expect.kind == "events":
            values[name] = _event(name, value[name], evidence)
        else:
            values[name] = _unit(name, value[name], expect, clamped)
    return Verdict(values, rung=rung, evidence=evidence, clamped=tuple(clamped))


def _last_object(text: str, expect: Expect) -> Verdict:
    """The last balanced object that names a criterion decides, right or wrong: no shopping for an earlier one."""
    found: Any = None
    problem = _BadError("prose", "there is no JSON object in the reply")
    position = text.find("{")
    for _ in range(_MAX_CANDIDATES):
        if position < 0:
            break
        end = position + 1
        try:
            value, end = _DECODER.raw_decode(text, position)
        except _BadError as bad:
            found, problem = None, bad
        except (ValueError, RecursionError):
            pass
        else:
            if any(name in value for name in expect.names):
                found = value
        position = text.find("{", end)
    if found is None:
        raise problem
    return _validate(found, expect, "embedded")


def read(text: str, expect: Expect, finish_reason: str = "stop") -> Verdict:
    """Read `text` as a verdict of the form `expect`; `finish_reason` is "stop", "length" or "refusal"."""
    text = text[-MAX_CHARS:].strip()
    if finish_reason == "refusal":
        return Verdict(None, "refusal", "the judge declined to answer")
    if not text:
        return Verdict(None, "truncated" if finish_reason == "length" else "empty", "the reply holds no text")
    problem: _BadError
    try:
        value = _decode(text)
    except _BadError as bad:
        problem = bad
    else:
        try:
            return _validate(value, expect, "json")
        except _BadError as bad:
            return Verdict(None, bad.failure, bad.reason)
    if finish_reason == "length":  # a whole object further up may be a draft
        return Verdict(None, "truncated", "the reply was cut at the token limit")
    try:
        fences = _FENCE.findall(text)
        if "fence" in expect.rungs and fences and not problem.failure.startswith(("dup", "not-f")):
            try:
                value = _decode(fences[-1].strip())
            except _BadError as bad:
                if bad.failure != "invalid-json":
                    raise
            else:
                return _validate(value, expect, "fence")
        if problem.failure != "invalid-json":
            raise problem
        if "embedded" in expect.rungs:
            return _last_object(text, expect)
        raise _BadError("prose" if "{" not in text else "invalid-json", "the reply is not one JSON object")
    except _BadError as bad:
        if bad.failure == "prose":
            if _REFUSAL.search(text):
                return Verdict(None, "refusal", "the judge declined to answer")
            if text.startswith("{") or text.startswith("```"):
                return Verdict(None, "invalid-json", "the JSON object is not complete or not valid")
        return Verdict(None, bad.failure, bad.reason)
