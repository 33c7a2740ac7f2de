"""The authors' derived rows: JSON and JSON Lines, with and without reasoning, and what is wrong with a file."""

import json
import re

import pytest

import tasks
from rewards.errors import UserError
from tasks.derived import problem_text, solution_text

GOOD = {"image": "a.png", "problem": "What is it?\nOptions:\nA) glands\nB) stroma",
        "solution": "<think>Round lumina.</think><answer>B) stroma</answer>"}


@pytest.fixture
def folder(tmp_path, write_file, draw):
    write_file(tmp_path / "images" / "a.png", draw(1))
    write_file(tmp_path / "beside.png", draw(2))
    return tmp_path


def one(folder, write_file, **changes):
    write_file(folder / "test.json", [GOOD | changes])
    return tasks.read("path", folder)


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_file_or_its_folder_can_be_the_source(name, folder, write_file):
    rows = [GOOD, GOOD | {"image": "beside.png"}]
    text = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n\n" for row in rows)
    write_file(folder / name, "\ufeff" + text)
    for source in (folder / name, folder):
        loaded = tasks.read("path", source)
        assert not loaded.dropped
        first = loaded.samples[0]
        assert (first.question, first.options, first.answer) == ("What is it?", ("glands", "stroma"), "B) stroma")
        assert (first.reference, first.suite, first.split) == ("Round lumina.", "derived", "rows")
        assert [s.image.name for s in loaded.samples] == ["a.png", "beside.png"]


@pytest.mark.parametrize("solution", [
    "B) stroma", "B", "stroma", "<answer>B) stroma</answer>", "<think></think><answer>B) stroma</answer>",
])
def test_solutions_without_reasoning(solution, folder, write_file):
    sample = one(folder, write_file, solution=solution).samples[0]
    assert (sample.answer, sample.reference) == ("B) stroma", None)


@pytest.mark.parametrize("problem", [
    "<image>What is it?\nOptions:\nA) glands\nB) stroma", "What is it?\noptions:\nA. glands\nB. stroma\n",
    "What is it?\n\nOptions: A) glands\nB) stroma", "What is it?\nOptions:\nA) glands\nB) stro-\nma",
])
def test_ways_to_write_a_problem(problem, folder, write_file):
    sample = one(folder, write_file, problem=problem, solution="B").samples[0]
    assert sample.question == "What is it?"
    assert sample.options in (("glands", "stroma"), ("glands", "stro- ma"))


def test_options_inside_the_question_are_left_alone(folder, write_file):
    sample = one(folder, write_file, problem="Two\nOptions:\nexist?\nOptions:\nA) glands\nB) stroma").samples[0]
    assert sample.question == "Two\nOptions:\nexist?"


def test_reasoning_keeps_its_characters(folder, write_file):
    solution = "<think>About 10⁹/L, 5 µm.</think><answer>B) stroma</answer>"
    assert one(folder, write_file, solution=solution).samples[0].reference == "About 10⁹/L, 5 µm."


@pytest.mark.parametrize(("changes", "reason"), [
    ({"solution": "C) other"}, "answer not among the options"), ({"solution": ""}, "no answer"),
    ({"solution": "<think>x</think><answer></answer>"}, "no answer"), ({"problem": ""}, "no question"),
    ({"problem": "What?"}, "no options"), ({"problem": "\nOptions:\nA) x\nB) y"}, "no options"),
    ({"image": "gone.png"}, "missing image"), ({"image": None}, "no image named"),
    ({"image": "../up.png"}, "image path leaves the data folder"), ({"image": ["a.png", "b.png"]}, "no image named"),
])
def test_bad_rows_are_counted_by_reason(changes, reason, folder, write_file):
    assert one(folder, write_file, **changes).reasons() == {reason: 1}


def test_a_broken_line_is_one_bad_row(folder, write_file):
    write_file(folder / "test.jsonl", json.dumps(GOOD) + "\n{broken\n[1]\n")
    loaded = tasks.read("path", folder)
    assert len(loaded.samples) == 1
    assert [(d.id, d.reason.value) for d in loaded.dropped] == [
        ("test-2", "malformed row"), ("test-3", "malformed row")]


def test_rows_of_other_tasks_are_passed_over(folder, write_file):
    write_file(folder / "test.json", [GOOD | {"task": "ct"}, GOOD | {"task": "path", "image": "beside.png"}])
    assert [s.task for s in tasks.load("ct", folder)] == ["ct"]
    assert [s.image.name for s in tasks.load("path", folder)] == ["beside.png"]


def test_unknown_split_and_wrong_layout(folder, write_file):
    write_file(folder / "test.json", {"rows": []})
    write_file(folder / "rl.jsonl", "")
    with pytest.raises(UserError, match=re.escape(
            f"no split 'rll' (did you mean 'rl'?) in {folder}: looked for rll.jsonl and rll.json; "
            "there are test, rl")):
        tasks.read("path", folder, split="rll")
    with pytest.raises(UserError, match="must be a list of objects with image, problem, solution, but is an object"):
        tasks.read("path", folder)


def test_written_rows_are_read_back(data_root, folder, write_file, draw):
    for s in tasks.load("path", data_root, split="all"):
        row = {"image": "a.png", "problem": problem_text(s.question, s.options),
               "solution": solution_text(s.answer, s.reference)}
        again = one(folder, write_file, **row).samples[0]
        assert (again.question, again.options, again.answer_index, again.reference) == (
            s.question, s.options, s.answer_index, s.reference)


def test_reasoning_with_tags_is_not_written_as_reasoning():
    assert solution_text("B) x", "The tag <answer>A) y</answer> misleads.") == "B) x"
    assert solution_text("B) x", "p < 0.05") == "<think>p < 0.05</think><answer>B) x</answer>"
