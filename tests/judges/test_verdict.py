"""Reading verdicts: each way of being wrong has its name, and nothing is ever guessed."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.judges import Expect
from rewards.judges.verdict import read

UNIT = Expect("unit", ("integrity", "knowledge"))
EVENTS = Expect("events", ("a", "b"))
GOOD = '{"integrity": 0.6, "knowledge": 1}'


def event(verdict="yes", evidence="quote"):
    return {"evidence": evidence, "verdict": verdict}


@pytest.mark.parametrize(
    "text, rung",
    [
        (GOOD, "json"),
        (f"  \n{GOOD}\n", "json"),
        (f"```json\n{GOOD}\n```", "fence"),
        (f"Here it is:\n```\n{GOOD}\n```\nDone.", "fence"),
        (f"Let me think. {GOOD}", "embedded"),
        (f'First draft: {{"integrity": 0, "knowledge": 0}}. On reflection: {GOOD} That is all.', "embedded"),
        (f'{{"note": "x"}} {GOOD} {{"other": 1}}', "embedded"),
        (f'<think>{{"a": {{"b": 1}}}} {{ broken</think>{GOOD}', "embedded"),
    ],
)
def test_usable_replies(text, rung):
    found = read(text, UNIT)
    assert (found.values, found.rung, found.failure) == ({"integrity": 0.6, "knowledge": 1.0}, rung, None)
    assert all(type(value) is float for value in found.values.values())


@pytest.mark.parametrize(
    "text, failure",
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("Integrity is 0.6 and knowledge is 1.0.", "prose"),
        ("0.6", "not-an-object"),
        ("[0.6, 1.0]", "not-an-object"),
        ("null", "not-an-object"),
        ("I'm sorry, but I cannot grade medical content.", "refusal"),
        ("I can't assist with that.", "refusal"),
        ('{"integrity": NaN, "knowledge": 1}', "not-finite"),
        ('{"integrity": Infinity, "knowledge": 1}', "not-finite"),
        ('{"integrity": -Infinity, "knowledge": 1}', "not-finite"),
        ('{"integrity": 1e999, "knowledge": 1}', "not-finite"),
        ('{"integrity": 1' + "0" * 400 + ', "knowledge": 1}', "not-finite"),
        ('```json\n{"integrity": NaN, "knowledge": 1}\n```', "not-finite"),
        ('prose {"integrity": NaN, "knowledge": 1}', "not-finite"),
        ('{"integrity": true, "knowledge": 1}', "boolean-as-number"),
        ('{"integrity": 1.4, "knowledge": 1}', "out-of-range"),
        ('{"integrity": -0.2, "knowledge": 1}', "out-of-range"),
        ('{"integrity": "0.6", "knowledge": 1}', "wrong-type"),
        ('{"integrity": null, "knowledge": 1}', "wrong-type"),
        ('{"integrity": [0.6], "knowledge": 1}', "wrong-type"),
        ('{"integrity": 0.6}', "missing-keys"),
        ("{}", "missing-keys"),
        ('{"Integrity": 0.6, "Knowledge": 1}', "missing-keys"),
        ('{"integrity ": 0.6, "knowledge": 1}', "missing-keys"),
        ('{"integrity": 0.6, "knowledge": 1, "overall": 1}', "unexpected-keys"),
        ('{"integrity": 0.6, "knowledge": 1, "knowledge": 0}', "duplicate-keys"),
        ('text {"integrity": 0.6, "knowledge": 1, "knowledge": 0}', "duplicate-keys"),
        ('{"integrity": 0.6, "knowledge": 1', "invalid-json"),
        ("{'integrity': 0.6, 'knowledge': 1}", "invalid-json"),
        ('{"integrity": 0.6, "knowledge": 1,}', "invalid-json"),
        ('{"integrity": 0,6, "knowledge": 1}', "invalid-json"),
        ('{"verdict": {"integrity": 0.6, "knowledge": 1}}', "missing-keys"),
    ],
)
def test_each_failure_has_its_name(text, failure):
    found = read(text, UNIT)
    assert (found.values, found.failure) == (None, failure)
    assert found.reason


def test_the_last_object_decides_even_when_it_is_wrong():
    assert read(f"{GOOD} but then {GOOD[:-2]}7}}", UNIT).failure == "out-of-range", "no shopping for an earlier one"


def test_truncation_and_refusal_come_from_the_server():
    assert read('{"integrity": 0.6, "kno', UNIT, "length").failure == "truncated"
    assert read(f"draft {GOOD} then more", UNIT, "length").failure == "truncated", "a draft is no verdict"
    assert read("", UNIT, "length").failure == "truncated"
    assert read(GOOD, UNIT, "length").values is not None, "complete although the limit was met"
    assert read(GOOD, UNIT, "refusal").failure == "refusal"


def test_clamping_is_said():
    found = read('{"integrity": 1.4, "knowledge": -3}', Expect("unit", UNIT.names, clamp=True))
    assert (found.values, found.clamped) == ({"integrity": 1.0, "knowledge": 0.0}, ("integrity", "knowledge"))
    assert read('{"integrity": NaN, "knowledge": 1}', Expect("unit", UNIT.names, clamp=True)).failure == "not-finite"


def test_events():
    found = read(json.dumps({"a": event(), "b": event("no", "")}), EVENTS)
    assert found.values == {"a": True, "b": False} and found.evidence == {"a": "quote", "b": ""}


@pytest.mark.parametrize(
    "a, failure",
    [
        (True, "wrong-type"), ("yes", "wrong-type"), ({"verdict": "yes"}, "missing-keys"),
        ({"evidence": "q", "verdict": True}, "wrong-type"), ({"evidence": "q", "verdict": "Yes"}, "wrong-type"),
        ({"evidence": "q", "verdict": "maybe"}, "wrong-type"), ({"evidence": None, "verdict": "no"}, "wrong-type"),
        ({"evidence": "q", "verdict": "yes", "confidence": 1}, "unexpected-keys"),
        ({"evidence": "q", "verdict": ["yes"]}, "wrong-type"),
    ],
)
def test_each_wrong_event_has_its_name(a, failure):
    found = read(json.dumps({"a": a, "b": event()}), EVENTS)
    assert (found.values, found.failure) == (None, failure) and "a" in found.reason


def test_a_duplicate_key_deep_inside_is_seen():
    text = '{"a": {"evidence": "q", "verdict": "no", "verdict": "yes"}, "b": {"evidence": "", "verdict": "no"}}'
    assert read(text, EVENTS).failure == "duplicate-keys"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400), st.sampled_from(["stop", "length", "refusal"]))
def test_no_text_breaks_the_reader_and_values_are_always_valid(text, finish):
    for around in (text, f"{text}{GOOD}", f"{GOOD}{text}", text.join(GOOD.split(" "))):
        found = read(around, UNIT, finish)
        assert (found.values is None) == (found.failure is not None)
        if found.values is not None:
            assert set(found.values) == set(UNIT.names)
            assert all(0 <= value <= 1 for value in found.values.values())


@pytest.mark.parametrize("hostile", ["{" * 100_000, '{"a":' * 30_000, "[" * 100_000, '{"integrity":' * 20_000,
                                     "{}" * 50_000, '"' * 100_000, "```\n" * 25_000, "9" * 100_000, "[{" * 50_000])
def test_hostile_replies_cost_little(hostile):
    started = time.perf_counter()
    assert read(hostile, UNIT).values is None
    assert time.perf_counter() - started < 2.0
