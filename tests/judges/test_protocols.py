"""What is asked and how the arithmetic goes: events, the paper's ladder with every rung and hole, quality."""

import asyncio
import json
import pickle

import pytest

from rewards.errors import UserError
from rewards.judges import JudgeBackend, JudgeError, JudgeReply, protocols
from rewards.judges.protocols.events import defects, quoted, rubric_events, scores
from rewards.judges.protocols.paper import LATTICE, UNREADABLE
from rewards.judges.settings import StackSettings
from rewards.judges.stack import Stack
from rewards.types import Completion, Parsed

CLEAN = {name: entry["defect_when"] == "no" for name, entry in rubric_events().items()}


class Says(JudgeBackend):
    name = "says"
    sees_images = True

    def __init__(self, reply):
        super().__init__()
        self.reply, self.asked = reply, 0

    async def ask(self, request):
        self.asked += 1
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply if isinstance(self.reply, JudgeReply) else JudgeReply(self.reply, model="says-1")


def judged(reply, case, name="paper", **settings):
    judge = Stack(Says(reply), StackSettings(max_attempts=1))
    return asyncio.run(protocols.load(name, **settings).judge(judge, *case)), judge.backend.asked


# events

def test_each_dimension_can_only_take_the_values_of_the_lattice():
    seen = {"integrity": set(), "knowledge": set()}
    process = set()
    for mask in range(64):
        events = {name: bool(mask >> i & 1) for i, name in enumerate(CLEAN)}
        values = scores(events)
        for dimension, value in values.items():
            seen[dimension].add(value)
        process.add(round(sum(values.values()) / 2, 10))
    assert seen == {"integrity": set(LATTICE), "knowledge": set(LATTICE)}
    assert len(process) == 9, "the process reward takes one of nine values (PAPER: the lattice)"


@pytest.mark.parametrize("penalty, one, two, three", [(0.3, 0.7, 0.4, 0.1), (0.4, 0.6, 0.2, 0.0), (0.5, 0.5, 0.0, 0.0)])
def test_any_penalty_is_computed_from_the_same_events(penalty, one, two, three):
    for dimension in ("integrity", "knowledge"):
        events, got = dict(CLEAN), []
        for name in [n for n, entry in rubric_events().items() if entry["dimension"] == dimension]:
            events[name] = not events[name]
            got.append(scores(events, penalty)[dimension])
        assert got == [one, two, three]


def test_a_needed_step_costs_when_missing_and_a_flaw_when_present():
    assert defects(CLEAN) == {"integrity": [], "knowledge": []}
    assert defects({**CLEAN, "image_features": False, "contradiction": True}) == {
        "integrity": ["image_features"], "knowledge": ["contradiction"]
    }


def test_evidence_stands_before_the_verdict_in_schema_and_example():
    protocol = protocols.load("events")
    for event in protocol.schema()["properties"].values():
        assert list(event["properties"]) == ["evidence", "verdict"]
    assert all(list(event) == ["evidence", "verdict"] for event in protocol.expect().example.values())


def test_a_yes_without_a_quote_from_the_chain_is_noted(case):
    reply = {name: {"evidence": "", "verdict": "no"} for name in CLEAN}
    reply["image_features"] = {"evidence": "Crowded PINK nuclei ... Mitoses define", "verdict": "yes"}
    reply["knowledge_cited"] = {"evidence": "words that nobody wrote", "verdict": "yes"}
    found, _ = judged(json.dumps(reply), case(), "events")
    assert found.detail["unquoted"] == ["knowledge_cited"]
    assert found.values["knowledge_cited"] is True, "noted, not changed"
    assert found.detail["evidence"]["image_features"].startswith("Crowded")
    assert not quoted("", "chain") and not quoted("...", "chain") and quoted(' "A  chain" ', "this is a chain")


# the paper's ladder, one test a rung

def test_rung_1_json(case):
    found, _ = judged('{"integrity": 0.6, "knowledge": 1.0}', case())
    assert found.values == {"integrity": 0.6, "knowledge": 1.0} and found.detail["rung"] == "json"


@pytest.mark.parametrize("fallback", ["missing", "paper", "zero", "fail"])
def test_rung_2_json_in_a_markdown_fence(case, fallback):
    found, _ = judged('Sure:\n```json\n{"integrity": 0.2, "knowledge": 0.6}\n```', case(), fallback=fallback)
    assert found.values == {"integrity": 0.2, "knowledge": 0.6} and found.detail["rung"] == "fence"


@pytest.mark.parametrize("letter, value", [("B", 0.5), ("A", 0.0)])
def test_rung_3_paper_compares_predicted_with_reference(case, letter, value):
    found, asked = judged("I would say it is fine.", case(letter=letter), fallback="paper")
    assert found.values == {"integrity": value, "knowledge": value}
    assert found.detail["fallback"] == "paper" and found.detail["fallback_for"] == "prose"
    assert asked == 1, "the authors do not ask again"


def test_rung_3_zero(case):
    found, _ = judged("I would say it is fine.", case(), fallback="zero")
    assert found.values == {"integrity": 0.0, "knowledge": 0.0} and found.detail["fallback"] == "zero"


def test_rung_3_fail(case):
    with pytest.raises(JudgeError, match=r"prose: .*fallback policy: fail"):
        judged("I would say it is fine.", case(), fallback="fail")


def test_rung_3_missing_is_the_default_and_asks_once_more(case):
    found, asked = judged("I would say it is fine.", case())
    assert (found.values, found.failure, asked) == (None, "prose", 2)
    assert "fallback" not in found.detail


def test_rung_4_clamp(case):
    for fallback in ("paper", "zero", "fail"):
        found, _ = judged('{"integrity": 1.4, "knowledge": -0.2}', case(), fallback=fallback)
        assert found.values == {"integrity": 1.0, "knowledge": 0.0}
        assert found.detail["clamped"] == ["integrity", "knowledge"]
    found, _ = judged('{"integrity": 1.4, "knowledge": -0.2}', case())
    assert (found.values, found.failure) == (None, "out-of-range")


@pytest.mark.parametrize("reply", ["", "{", "[1, 1]", "I'm sorry, I cannot grade this."])
def test_all_unreadable_replies_reach_rung_3(case, reply):
    found, _ = judged(reply, case(), fallback="paper")
    assert found.values == {"integrity": 0.5, "knowledge": 0.5} and found.detail["fallback_for"] in UNREADABLE


def test_json_inside_prose_is_no_rung_of_the_paper_but_one_of_ours(case):
    text = 'My grades: {"integrity": 0.6, "knowledge": 1.0}'
    assert judged(text, case())[0].values == {"integrity": 0.6, "knowledge": 1.0}
    assert judged(text, case(), fallback="zero")[0].values == {"integrity": 0.0, "knowledge": 0.0}


# the holes, closed under every policy

@pytest.mark.parametrize("fallback", ["missing", "paper", "zero"])
@pytest.mark.parametrize(
    "reply, failure",
    [
        ('{"integrity": NaN, "knowledge": 1.0}', "not-finite"),
        ('{"integrity": Infinity, "knowledge": 1.0}', "not-finite"),
        ('```json\n{"integrity": NaN, "knowledge": NaN}\n```', "not-finite"),
        ('{"knowledge": 1.0}', "missing-keys"),
        ("{}", "missing-keys"),
        ('{"integrity": true, "knowledge": true}', "boolean-as-number"),
        ('{"integrity": "1.0", "knowledge": 1.0}', "wrong-type"),
        ('{"integrity": 1.0, "integrity": 0.0, "knowledge": 1.0}', "duplicate-keys"),
    ],
)
def test_hole_a_readable_reply_that_is_no_grade_is_missing_not_1_and_not_0(case, reply, failure, fallback):
    found, _ = judged(reply, case(), fallback=fallback)
    assert (found.values, found.failure) == (None, failure)


@pytest.mark.parametrize("fallback", ["missing", "paper", "zero"])
def test_hole_an_outage_is_missing_under_every_policy(case, fallback):
    found, _ = judged(JudgeError("server-error", "HTTP 500"), case(), fallback=fallback)
    assert (found.values, found.failure, found.reason) == (None, "server-error", "HTTP 500")


def test_hole_the_example_of_the_prompt_is_no_possible_grade():
    for name in ("paper", "quality"):
        expect = protocols.load(name).expect()
        assert all(all(abs(value - point) > 1e-9 for point in expect.lattice) for value in expect.example.values())


# settings

@pytest.mark.parametrize("name", sorted(protocols.PROTOCOLS))
def test_what_the_judge_is_told_about_the_truth_is_a_setting(case, name):
    wrong = case(letter="A")
    shown = json.loads(protocols.load(name).request(*wrong).user)
    assert shown["reference_answer"] == "B) carcinoma" and "predicted_answer_is_correct" not in shown
    shown = json.loads(protocols.load(name, show="correctness").request(*wrong).user)
    assert shown["predicted_answer_is_correct"] is False and "reference_answer" not in shown
    neither = protocols.load(name, show="neither")
    shown = json.loads(neither.request(*wrong).user)
    assert set(shown) == {"question", "options", "reasoning", "predicted_answer"}
    assert "reference_answer" not in neither.system()
    assert shown["options"] == ["A) fat", "B) carcinoma", "C) bone"] and shown["predicted_answer"] == "A) fat"


@pytest.mark.parametrize("name", sorted(protocols.PROTOCOLS))
def test_the_image_is_a_setting(case, name):
    assert protocols.load(name).request(*case()).image is not None
    blind = protocols.load(name, image=False)
    assert blind.request(*case()).image is None and "image" not in blind.system().split("It has these fields")[0]


def test_ids_paths_and_facts_never_reach_the_prompt(case):
    request = protocols.load("events").request(*case(id="images/melanoma/17.png"))
    assert "17.png" not in request.user + request.system and "tissue\":" not in request.user
    assert request.context["facts"] == {"tissue": "carcinoma"} and request.label == "images/melanoma/17.png"


def test_without_a_think_block_the_whole_text_is_judged(case):
    sample, _, _ = case()
    parsed = Parsed(None, None, False, {"strict": None, "letter": None, "omnimed": "A"}, "no-answer")
    request = protocols.load("paper").request(sample, Completion("just a sentence", "stop"), parsed)
    shown = json.loads(request.user)
    assert shown["reasoning"] == "just a sentence" and shown["predicted_answer"] is None
    assert request.context["correct"] is False


def test_a_completion_without_text_is_not_judged(case):
    sample, _, parsed = case()
    broken = (sample, Completion("", "error", error="out of memory"), parsed)
    found, asked = judged('{"integrity": 1, "knowledge": 1}', broken)
    assert (found.values, found.failure, found.reason, asked) == (None, "completion-error", "out of memory", 0)


@pytest.mark.parametrize("name", sorted(protocols.PROTOCOLS))
def test_protocols_are_picklable_and_equal_settings_give_equal_requests(case, name):
    protocol = protocols.load(name, image=False)
    copy = pickle.loads(pickle.dumps(protocol))
    assert copy.fingerprint() == protocol.fingerprint()
    assert copy.request(*case()).system == protocol.request(*case()).system


def test_wrong_names_keys_and_values_are_users_mistakes():
    with pytest.raises(UserError, match=r"no judge protocol 'event' \(did you mean 'events'\?\)"):
        protocols.load("event")
    with pytest.raises(UserError, match=r"has no setting 'falback' \(did you mean 'fallback'\?\)"):
        protocols.load("paper", falback="zero")
    with pytest.raises(UserError, match="no setting 'fallback'"):
        protocols.load("events", fallback="zero")
    with pytest.raises(UserError, match=r"setting 'show': .* got 'all'"):
        protocols.load("paper", show="all")
    with pytest.raises(UserError, match="setting 'max_tokens'"):
        protocols.load("paper", max_tokens=-1)
