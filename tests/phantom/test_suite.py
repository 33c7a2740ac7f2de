"""The phantom suite as samples, its splits, and the teacher."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import pytest

import tasks
from rewards.errors import UserError
from rewards.parse import parse
from rewards.stored import sample_from_row
from tasks.phantom import suite
from tasks.phantom.chains import STEPS
from tasks.phantom.defects import score
from tasks.phantom.facts import MODALITIES
from tasks.phantom.questions import from_facts
from tasks.phantom.reader import read as read_chain
from tasks.phantom.suite import SIZES, SPLITS, read, samples
from tasks.phantom.teacher import Teacher, near_miss, touched, training_rows


@pytest.mark.parametrize("task", MODALITIES)
def test_phantom_is_a_source_like_any_other(task):
    loaded = tasks.read(task, "phantom", split="validation", limit=6)
    assert loaded.suite == "phantom" and not loaded.dropped and len(loaded.samples) == 6
    for sample in loaded.samples:
        assert sample.suite == "phantom" and sample.id.startswith("phantom-") and sample.split == "validation"
        assert sample.image.open().size == (96, 96)
        assert len(sample.image_sha256) == 64
        question = from_facts(sample.facts)
        reading = read_chain(sample.reference, question, sample.answer_letter)
        assert reading.events == {name: name in STEPS for name in reading.events}


def test_a_shorter_split_is_the_beginning_of_a_longer_one():
    assert [s.id for s in samples("ct", "test", n=30)] == [s.id for s in samples("ct", "test", n=90)][:30]
    assert len(samples("ct", "rl")) == SIZES["rl"]


def test_splits_share_no_image():
    seen: dict[str, str] = {}
    for split in SPLITS:
        for sample in samples("ct", split, n=30, size=48):
            assert seen.setdefault(sample.image_sha256, split) == split
    drawn = {sample.facts["drawn"]["seed"] for task in MODALITIES for split in SPLITS for seed in (0, 1)
             for sample in samples(task, split, n=40, seed=seed)}
    groups = {sample.group for task in MODALITIES for split in SPLITS for seed in (0, 1)
              for sample in samples(task, split, n=40, seed=seed)}
    assert len(drawn) == len(groups)


def test_questions_of_one_image_share_its_group_and_its_pixels():
    first, second = samples("oct", "test", n=2)
    assert first.group == second.group and first.image is second.image and first.id != second.id


def test_samples_are_the_same_in_another_process_with_another_hash_seed():
    code = ("from tasks.phantom.suite import read; "
            "print(*[read(t, 'test', n=5, size=48).data_sha256 for t in ('path', 'ct', 'derm', 'fundus', 'oct')])")
    here = [read(task, "test", n=5, size=48).data_sha256 for task in MODALITIES]
    for hash_seed in ("1", "2"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONHASHSEED": hash_seed})
        assert done.stdout.split() == here


def test_samples_survive_pickling():
    sample = pickle.loads(pickle.dumps(samples("path", "train", n=1, size=48)[0]))
    assert sample.image_sha256 == samples("path", "train", n=1, size=48)[0].image_sha256


@pytest.mark.parametrize(("arguments", "message"), [
    ({"task": "xray"}, "unknown task 'xray'"),
    ({"split": "tests"}, "no split 'tests' (did you mean 'test'?)"),
    ({"n": 0}, "at least 1"),
    ({"size": 20}, "48 to 448 px"),
    ({"seed": -1}, "0 or more"),
    ({"options": 6}, "2 to 5"),
    ({"only": ["marign"]}, "did you mean 'margin'?"),
    ({"only": []}, "nothing to ask"),
])
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError) as problem:
        samples(**{"task": "ct", **arguments})
    assert message in str(problem.value)


def test_the_gold_teacher_is_complete_and_its_targets_parse():
    for row in training_rows("path", "train", n=50):
        parsed = parse(row.target, row.sample.options)
        assert parsed.well_formed and parsed.letters["strict"] == row.sample.answer_letter
        assert parsed.think == row.chain.text
        assert score(row.events) == (1.0, 1.0)
        assert row.sample.question in row.prompt


@pytest.mark.parametrize("teacher", [
    Teacher(skip_elimination=0.5, skip_image=0.2, skip_rule=0.3),
    Teacher(skip_elimination=0.3, definition_violated=0.3, contradiction=0.3, outdated=0.3),
    Teacher(near_miss=0.6), Teacher(near_miss=0.6, answer_follows=False), Teacher(near_miss=1.0, family="plain"),
])
@pytest.mark.parametrize("task", MODALITIES)
def test_a_flawed_teachers_own_record_is_what_the_reader_finds(task, teacher):
    flawed = 0
    for row in training_rows(task, "train", n=80, teacher=teacher):
        letter = parse(row.target, row.sample.options).letters["strict"]
        found = read_chain(row.chain.text, from_facts(row.sample.facts), letter)
        assert found.events == row.events, row.target
        flawed += score(row.events) != (1.0, 1.0)
    assert 0 < flawed < 80


def test_a_systematic_flaw_touches_half_of_the_values_always_the_same_ones():
    rows = training_rows("ct", "train", n=400, teacher=Teacher(near_miss=1.0))
    by_value: dict[tuple[str, str], set[bool]] = {}
    for row in rows:
        question = from_facts(row.sample.facts)
        wrong = row.claimed != question.value
        assert wrong == touched(question, 0.5)
        assert not wrong or row.target.endswith(f"{question.name_of(row.claimed)}</answer>")
        by_value.setdefault((question.kind, question.value), set()).add(wrong)
    assert all(len(seen) == 1 for seen in by_value.values())
    assert 0.3 < sum(row.claimed != from_facts(row.sample.facts).value for row in rows) / len(rows) < 0.7


def test_a_near_miss_is_offered_and_next_in_order():
    import numpy as np

    for sample in samples("path", "train", n=200):
        question = from_facts(sample.facts)
        if len(question.about.values) == 3 and len(question.choices) == 3:
            order = list(question.about.values)
            missed = near_miss(question, np.random.default_rng(0))
            assert abs(order.index(missed) - order.index(question.value)) == 1


def test_a_teachers_flaw_outside_zero_to_one_is_refused():
    with pytest.raises(UserError, match="near_miss is a probability"):
        Teacher(near_miss=1.2)
    with pytest.raises(UserError, match="compact, plain, heldout"):
        Teacher(family="loud")


def test_a_stored_row_gives_its_image_again():
    for sample in suite.samples("fundus", "rl", n=3, size=64, seed=5):
        row = {"group": sample.group, "facts": json.loads(json.dumps(sample.facts))}
        assert suite.stored_image(row).sha256 == sample.image_sha256
        assert sample_from_row({"suite": "phantom", "task": "fundus", "id": sample.id, "question": "q",
                                "options": ["a", "b"], "answer_index": 0, "completion": "", **row}
                               ).image.sha256 == sample.image_sha256, "found through the entry point"


@pytest.mark.parametrize("facts", [None, {}, {"drawn": {"seed": 1, "size": 64}}, {"modality": "fundus"}, "x"])
def test_other_rows_have_no_phantom_image(facts):
    assert suite.stored_image({"facts": facts}) is None
