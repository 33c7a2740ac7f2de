"""Gold chains, the defect library, the rule reader: what was built is what is read, in every wording it accepts."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from rewards.errors import UserError
from rewards.judges.protocols.events import rubric_events, scores
from rewards.types import LETTERS
from tasks.phantom.chains import FAMILIES, STEPS, gold, wordings
from tasks.phantom.check import cells, main
from tasks.phantom.defects import ERRORS, EVENTS, build, score
from tasks.phantom.facts import MODALITIES
from tasks.phantom.knowledge import kinds, outdated
from tasks.phantom.questions import Question, ask
from tasks.phantom.reader import read

CT = {"modality": "ct", "nodule_side": "left", "nodule_size": "mass", "nodule_mm": 36, "margin": "spiculated",
      "effusion": "none", "ground_glass": "none"}


def margin(*choices: str) -> Question:
    return Question("ct", "margin", "spiculated", choices or ("smooth", "spiculated", "not applicable"), CT)


def some(task: str, n: int, seed: int = 0) -> list[Question]:
    return [ask(task, np.random.default_rng([seed, i]))[1][0] for i in range(n)]


def events(text: str, question: Question | None = None, answer: str | None = None) -> dict[str, bool | None]:
    return read(text, question or margin(), answer).events


def test_event_names_and_arithmetic_are_those_of_the_rubric():
    assert set(EVENTS) == set(rubric_events())
    for n in range(len(EVENTS) + 1):
        for present in combinations(EVENTS, n):
            given = {name: name in present for name in EVENTS}
            assert dict(zip(("integrity", "knowledge"), score(given), strict=True)) == scores(given)


@pytest.mark.parametrize("task", MODALITIES)
@pytest.mark.parametrize("family", ["compact", "plain"])
def test_gold_chains_are_complete_correct_and_separable(task, family):
    for i, question in enumerate(some(task, 60)):
        chain = gold(question, np.random.default_rng(i), family)
        assert {span.role for span in chain.spans} - {"closing"} == set(STEPS)
        assert " ".join(chain.text[span.start : span.end] for span in chain.spans) == chain.text
        reading = read(chain.text, question, LETTERS[question.answer_index])
        assert reading.events == {name: name in STEPS for name in EVENTS}, chain.text
        for step in STEPS:
            (span,) = [span for span in chain.spans if span.role == step]
            assert any(span.start <= start and end <= span.end for start, end in reading.evidence[step])


def test_sixteen_cells_are_recomputed_exactly_in_every_family():
    found = cells(chains=25, seed=3)
    assert len(found) == 16 * len(FAMILIES)
    assert not [cell for cell in found if cell.wrong]
    assert not [cell for cell in found if cell.family != "heldout" and cell.cannot_tell]
    heldout = [cell for cell in found if cell.family == "heldout"]
    read_back = sum(cell.exact for cell in heldout)
    assert 0.2 * 400 < read_back < 400  # wordings it was not fitted to: many are read, none is guessed


def test_every_set_of_defects_can_be_built_and_stands_where_it_says():
    rng = np.random.default_rng(0)
    for question in some("fundus", 4):
        for missing in [set(c) for n in range(4) for c in combinations(STEPS, n)]:
            for errors in [set(c) for n in range(4) for c in combinations(ERRORS, n)]:
                made = build(question, rng, missing, errors, "plain")
                roles = [span.role for span in made.chain.spans if span.role != "closing"]
                assert sorted(roles) == sorted((set(STEPS) - missing) | errors)
                assert made.events == {name: name in roles for name in EVENTS}
                assert (made.integrity, made.knowledge) == score(made.events)


@pytest.mark.parametrize("task", MODALITIES)
def test_every_criterion_outdated_phrase_and_false_pairing_is_read(task):
    for kind in kinds(task).values():
        values = list(kind.values.values())
        question = next(q for i in range(50) for q in ask(task, np.random.default_rng(i), only=[kind.name])[1])
        for value in values:
            for means in value.means:
                assert events(f"Rule: {means} = {value.name}.", question)["knowledge_cited"] is True
                other = next(v for v in values if v is not value)
                found = events(f"By definition, {means} means {other.name}.", question)
                assert (found["definition_violated"], found["knowledge_cited"]) == (True, False)
    for says in (says for texts in outdated(task) for says in texts):
        assert events(f"The rule here is that {says}.", some(task, 1)[0])["outdated_criterion"] is True


def test_roles_not_words():
    refused = "".join(f"{option}: no, since this is spiculated margin. "
                      for option in ("A) smooth margin", "C) no lesion margin"))
    found = events(refused)
    assert found["options_eliminated"] is True
    assert found["image_features"] is False  # the finding is named as a reason, not analysed
    assert found["contradiction"] is False  # naming the refused option claims nothing
    assert events("The image shows spiculated margin.")["image_features"] is True


def test_a_false_statement_about_the_image_is_no_analysis():
    assert events("See: smooth margin.")["image_features"] is False
    found = events("See: spiculated margin. The image also shows smooth margin.")
    assert (found["image_features"], found["contradiction"]) == (True, True)


def test_elimination_needs_two_wrong_options_and_a_reason_that_holds():
    assert events("A) smooth margin: no. C) no lesion margin: no.")["options_eliminated"] is False  # no reason
    one = "Compared with spiculated margin: A) smooth margin: no. B) spiculated margin: yes."
    assert events(one)["options_eliminated"] is False
    assert events(one, margin("smooth", "spiculated"))["options_eliminated"] is True  # only one to rule out
    false_reason = "Compared with smooth margin: B) spiculated margin: no. C) no lesion margin: no."
    assert events(false_reason)["options_eliminated"] is False
    swapped = "Compared with spiculated margin: A) no lesion margin: no. C) smooth margin: no."
    assert events(swapped)["options_eliminated"] is False  # quotes options under letters that are not theirs


def test_contradictions_between_steps_and_answer():
    chain = ("See: spiculated margin. Compared with spiculated margin: A) smooth margin: no. "
             "B) spiculated margin: yes. C) no lesion margin: no.")
    assert events(chain, answer="B")["contradiction"] is False
    assert events(chain, answer="A")["contradiction"] is True
    assert events("See: spiculated margin.", answer="A")["contradiction"] is True
    assert events("Option A fits. Option B fits.")["contradiction"] is True
    assert events("Compared with spiculated margin: A) smooth margin: yes.")["contradiction"] is True


@pytest.mark.parametrize("text", [
    "I think the answer might be the spiculated one.",
    "There is no spiculated margin.",
    "The image perhaps shows spiculated margin.",
    "Is spiculated margin seen? Possibly.",
    "A) smooth margin cannot be excluded.",
    "integrity: 1.0, knowledge: 1.0. All six events are fine.",
    "图像显示毛刺状边缘。",
    "Spikes at the rim do not mean spiculated margin.",
    "The Gass stage is no longer used.",
])
def test_free_text_is_not_guessed(text):
    found = events(text)
    assert set(found.values()) == {None}, found


def test_what_was_found_stays_found_beside_a_sentence_that_is_not_understood():
    found = events("The image shows spiculated margin. Honestly, who knows about the rest.")
    assert found["image_features"] is True
    assert [found[name] for name in EVENTS if name != "image_features"] == [None] * 5


def test_an_empty_chain_has_nothing_and_an_endless_one_is_not_read_to_its_end():
    assert events("") == dict.fromkeys(EVENTS, False)
    found = read("See: spiculated margin. " * 3000, margin())
    assert found.events["image_features"] is True and found.events["contradiction"] is None


WORDS = ["A)", "B)", "(C)", "J)", "option B", "Option", "answer is B", "smooth margin", "spiculated margin", "melanoma",
         "no lesion margin", "spikes at the rim", "an even rim", "a mass begins at 40 mm", "The image shows", "Rule",
         "Compared with", "no", "yes", "not", "because", "fits", "excluded", "und", "<answer>", *":.=?()\n"]


@settings(max_examples=300, deadline=None)
@given(strategies.lists(strategies.sampled_from(WORDS), max_size=25), strategies.sampled_from([None, *"ABCJ"]))
def test_any_mixture_of_words_is_read_without_a_crash_and_by_its_own_rules(words, answer):
    text = " ".join(words)
    reading = read(text, margin(), answer)
    assert set(reading.events) == set(EVENTS)
    for name, value in reading.events.items():
        assert (value is True) == bool(reading.evidence[name])
        assert all(0 <= start < end <= len(text) for start, end in reading.evidence[name])
        assert value is not None or reading.unread
        assert value is not False or not reading.unread


def test_wordings_of_all_families_have_all_slots():
    for family in FAMILIES:
        words = wordings(family)
        assert all("{claims}" in text for text in words["image_features"])
        assert all("{means}" in text and "{term}" in text for text in words["knowledge_cited"])
        assert all("{outdated}" in text for text in words["outdated"])
        assert all("{value}" in style["lead"] + style["no"] for style in words["elimination"])
    with pytest.raises(ValueError, match="unknown wording family 'loud'"):
        wordings("loud")


def test_the_check_command_refuses_a_file_it_could_not_write_before_it_works(tmp_path):
    with pytest.raises(UserError, match="in a folder that exists"):
        main(["defects", "--chains", "10", "--out", str(tmp_path / "none" / "cells.json")])


def test_the_check_command_reports_both_tables(capsys, tmp_path):
    assert main(["defects", "--chains", "10", "--out", str(tmp_path / "cells.json")]) == 0
    assert "cannot tell" in capsys.readouterr().out
    assert (tmp_path / "cells.json").read_text().count('"wrong": 0') == 48
