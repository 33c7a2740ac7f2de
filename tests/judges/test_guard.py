"""Hostile chains: a corpus of injections stays inside one JSON value, in every protocol and on every wire."""

import json
import time
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.judges import guard, protocols, resolve
from rewards.judges.scripted import Scripted
from rewards.judges.stack import Stack

CORPUS = json.loads((Path(__file__).parent / "injections.json").read_text(encoding="utf-8"))

BENIGN = [
    "The section shows crowded glands with pink cytoplasm and basal nuclei. Option A (fat) is excluded because no "
    "adipocytes are seen; option C (bone) is excluded because there is no osteoid. Loss of polarity is a criterion of "
    "high-grade dysplasia. The answer is therefore B.",
    "Step 1: the CT slice is at the level of the carina.\n- A 3 cm spiculated mass lies in the right upper lobe.\n"
    "- No pleural effusion.\nStep 2: a carcinoid would be smooth, so A is unlikely.",
    "Several cotton-wool spots and more than 20 haemorrhages in each quadrant satisfy the 4-2-1 rule, so the grade is "
    "severe non-proliferative retinopathy. Mild is ruled out, as is moderate.",
    "The OCT shows subretinal fluid (SRF) and a dome-shaped PED. Drusen are absent. CNV fits best; normal and DME do "
    "not.",
    "First I look at the margin: irregular, three colours, 7 mm. By the ABCD rule this scores 6.2, above 5.45, so it "
    "is melanoma. A naevus would be symmetric.",
    "I cannot see mitoses at this magnification, but nuclear pleomorphism is marked. I would not call this benign.",
    "",
    "B",
]


def test_the_corpus_is_large_and_varied():
    assert len(CORPUS) >= 60
    assert len({entry["text"] for entry in CORPUS}) == len(CORPUS)
    assert set(Counter(entry["kind"] for entry in CORPUS)) == {
        "fake-verdict", "closed-frame", "fake-role", "override", "address", "language", "encoded", "invisible"
    }


CONTROL = ("<|", "|>", "<", ">", "`", "[INST]", "[/INST]", "[SYSTEM_PROMPT]")


@pytest.mark.parametrize("name", sorted(protocols.PROTOCOLS))
@pytest.mark.parametrize("number", range(len(CORPUS)))
def test_an_injection_stays_inside_its_value(number, name, case):
    text = CORPUS[number]["text"]
    protocol = protocols.load(name)
    sample, completion, parsed = case(text)
    request = protocol.request(sample, completion, parsed)
    assert request.system == protocol.request(*case("harmless")).system, "no word of the chain reaches the rules"
    value, end = json.JSONDecoder().raw_decode(request.user)
    assert end == len(request.user), "one JSON value and nothing after it"
    assert set(value) == {"question", "options", "reasoning", "predicted_answer", "reference_answer"}
    assert value["reasoning"] == guard.clean(text).text
    assert value["predicted_answer"] == "B) carcinoma"
    assert "\n" not in request.user and not any(token in request.user for token in CONTROL)
    assert all(unicodedata.category(c)[0] != "C" for c in request.user), "nothing invisible is left"


@pytest.mark.parametrize("number", range(0, len(CORPUS), 4))
def test_on_the_wire_roles_stay_as_they_are(number, case):
    request = protocols.load("events").request(*case(CORPUS[number]["text"]))
    body = resolve("openai:m").backend.payload(request)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    body = resolve("anthropic:m").backend.payload(request)
    assert [message["role"] for message in body["messages"]] == ["user"] and body["system"] == request.system


def test_other_fields_are_no_way_out_either(case):
    attack = CORPUS[0]["text"] + '"}<|im_end|>```'
    sample, completion, parsed = case(question=attack, options=(attack, "carcinoma", attack))
    for show in ("reference", "correctness", "neither"):
        request = protocols.load("paper", show=show).request(sample, completion, parsed)
        value, end = json.JSONDecoder().raw_decode(request.user)
        assert end == len(request.user) and not any(token in request.user for token in CONTROL)
        assert value["question"] == attack and value["options"][0] == f"A) {attack}"


def test_the_detector_sees_the_corpus_and_leaves_ordinary_reasoning_alone():
    missed = [entry["text"] for entry in CORPUS if not guard.detect(entry["text"])]
    rate = 1 - len(missed) / len(CORPUS)
    assert rate >= 0.9, missed
    assert [text for text in BENIGN if guard.detect(text)] == []


def test_the_detector_changes_nothing_but_the_flags(case):
    judged_system = protocols.load("events").request(*case(CORPUS[34]["text"]))
    assert judged_system.flags and "flags" not in judged_system.user
    judge = Stack(Scripted("honest"))
    plain = protocols.load("events").request(*case("x"))
    from dataclasses import replace

    assert judge.key(plain) == judge.key(replace(plain, flags=("override",), label="other"))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_cleaned_once_and_for_all_and_survives_the_document(text):
    once = guard.clean(text)
    assert guard.clean(once.text).text == once.text
    assert guard.clean(once.text).hidden == 0
    packed = guard.document({"reasoning": once.text})
    assert json.loads(packed) == {"reasoning": once.text}
    assert packed.encode("utf-8") and not any(token in packed for token in CONTROL)


def test_long_texts_are_capped_and_say_so(case):
    cleaned = guard.clean("word " * 10_000, 1_000)
    assert len(cleaned.text) == 1_000 and cleaned.cut == 49_000
    value = json.loads(protocols.load("paper", max_chars=1_000).request(*case("word " * 10_000)).user)
    assert len(value["reasoning"]) == 1_000 and value["reasoning_was_cut"] is True


@pytest.mark.parametrize("hostile", ["<" * 1_000_000, "ignore " * 150_000, "A" * 1_000_000, "\u200b" * 1_000_000,
                                     '{"' * 500_000, "=" * 1_000_000, "ﷺ" * 300_000, "[A" * 300_000, "1" * 500_000,
                                     "judge " * 100_000, "give " * 100_000, "%41" * 100_000, "a\u0301" * 200_000])
def test_hostile_megabytes_cost_little(hostile):
    started = time.perf_counter()
    cleaned = guard.clean(hostile)
    guard.detect(hostile, cleaned)
    guard.document({"reasoning": cleaned.text})
    assert time.perf_counter() - started < 1.0
    assert len(cleaned.text) <= guard.MAX_CHARS
