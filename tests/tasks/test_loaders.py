"""The loaders on whole folders: counts, quirks, ids, prompts, hashes. Also on real data when it is given."""

import json
import pickle
import re
import shutil
from pathlib import Path

import pytest

import tasks
from rewards.errors import UserError
from rewards.types import LETTERS
from tasks.prompts import render


def present(source: Path) -> list[str]:
    """The tasks this folder has data for."""
    found = []
    for task in tasks.names():
        try:
            tasks.read(task, source, limit=1)
        except UserError as problem:
            assert "looked for" in str(problem)
            continue
        found.append(task)
    return found


def every(source: Path) -> list[tuple[str, tasks.Loaded]]:
    return [(task, tasks.read(task, source, split="all")) for task in present(source)]


def test_usable_and_dropped_rows_are_all_accounted_for(data_root, data_facts):
    for task in tasks.TASKS:
        loaded = tasks.read(task, data_root)
        assert len(loaded.samples) == data_facts.usable[task]
        assert loaded.reasons() == data_facts.dropped[task]
        assert all(d.task == task and d.id and d.reason for d in loaded.dropped)


def test_rows_of_the_default_split_are_each_counted_once(data_root):
    table = json.loads((data_root / "pathmmu" / "data.json").read_text())
    loaded = tasks.read("path", data_root)
    assert len(loaded.samples) + len(loaded.dropped) == sum(len(parts["test"]) for parts in table.values())


def test_all_splits_count_a_question_in_two_splits_once(data_root, data_facts):
    loaded = tasks.read("path", data_root, split="all")
    assert len(loaded.samples) == data_facts.path_all
    assert [d.id for d in loaded.dropped if d.reason is tasks.Reason.DUPLICATE] == [
        "PubMed-test-1", "PubMed-test_tiny-1"]


def test_several_splits_can_be_named(data_root):
    both = tasks.load("path", data_root, split="val,test")
    assert {s.split for s in both} == {"val", "test"}
    assert len(both) == 13


def test_quirks_of_pathmmu(data_root):
    by_id = {s.id: s for s in tasks.load("path", data_root, split="all")}
    assert by_id["PubMed-test-3"].answer == "D) Chronic gastritis"  # a bare letter in the data
    assert by_id["PubMed-test-4"].answer == "A) Normal colonic mucosa"  # a final full stop in the data
    assert by_id["SocialPath-test-1"].options == ("Lipoma", "Leiomyoma", "Schwannoma")
    assert by_id["SocialPath-test-1"].answer_letter == "B"
    assert len(by_id["EduContent-test-2"].options) == 5
    assert len(by_id["PathCLS-test-1"].options) == 2
    assert by_id["PubMed-test-1"].group == by_id["PubMed-test-2"].group  # two questions about one image
    assert by_id["PubMed-test-1"].reference.startswith("Field 1 shows glands.")
    assert by_id["Atlas-test-1"].subset == "Atlas"


def test_quirks_of_omnimedvqa(data_root):
    ct = tasks.load("ct", data_root)
    assert ct[1].answer == "B) Abnormal area"  # gt_answer ends in a full stop
    assert ct[3].answer == "A) Left side"  # gt_answer in another case
    assert ct[2].options == ("No", "Yes")  # no option_C, option_D
    assert ct[5].options == ("Yes", "No")  # they are null and empty
    assert {s.question_type for s in ct} == {"Modality Recognition", "Disease Diagnosis", "Anatomy Identification",
                                             "Lesion Grading", "Other Biological Attributes"}
    assert [s.subset for s in ct] == ["Chest CT Scan"] * 6
    assert ct[0].reference is None
    assert ct[0].facts is None


def test_ids_are_unique_and_the_same_every_time(source):
    for _, loaded in every(source):
        ids = [s.id for s in loaded.samples]
        assert len(ids) == len(set(ids)) > 0
    again = [(task, [s.id for s in loaded.samples], loaded.data_sha256) for task, loaded in every(source)]
    assert again == [(task, [s.id for s in loaded.samples], loaded.data_sha256) for task, loaded in every(source)]


def test_an_id_used_for_two_different_questions_keeps_both(tmp_path, write_file, draw, options_of):
    write_file(tmp_path / "pathmmu/images/a.png", draw(1))
    rows = [{"No": 7, "img": "a.png", "question": q, "options": options_of("x", "y"), "answer": "A"} for q in "PQ"]
    write_file(tmp_path / "pathmmu/data.json", {"Atlas": {"test": rows}})
    ids = [s.id for s in tasks.load("path", tmp_path)]
    assert ids[0] == "Atlas-test-7"
    assert re.fullmatch(r"Atlas-test-7-[0-9a-f]{8}", ids[1])


def test_every_sample_is_sound(source):
    for task, loaded in every(source):
        for s in loaded.samples:
            assert s.task == task
            assert 2 <= len(s.options) <= 10
            assert 0 <= s.answer_index < len(s.options)
            assert all(option and option == " ".join(option.split()) for option in s.options)
            assert s.group == s.image_sha256 and re.fullmatch("[0-9a-f]{64}", s.group)


def test_no_path_name_id_or_subset_reaches_a_prompt(source):
    for task, loaded in every(source):
        for s in loaded.samples:
            prompt = render(s)
            own = f"{s.question} {' '.join(s.options)}"
            for secret in (s.id, s.subset, s.image.name, s.group, str(source), *s.image.name.split("/")):
                assert secret not in prompt or secret in own, (task, s.id, secret)
            assert not re.search(r"\.(png|jpe?g|json)\b", prompt.replace(own, ""))


def test_the_right_option_is_not_marked_in_a_prompt(data_root):
    from dataclasses import replace

    for s in tasks.load("path", data_root):
        assert {render(replace(s, answer_index=i, reference=None)) for i in range(len(s.options))} == {render(s)}


def test_prompts_list_every_option_with_its_letter(data_root):
    for s in tasks.load("ct", data_root) + tasks.load("path", data_root):
        lines = render(s).splitlines()
        for letter, option in zip(LETTERS, s.options, strict=False):
            assert f"{letter}) {option}" in lines
        assert f"{LETTERS[len(s.options)]}) " not in render(s)


def test_limit_keeps_the_first_and_stops_reading(data_root):
    full = tasks.load("path", data_root)
    assert [s.id for s in tasks.load("path", data_root, limit=3)] == [s.id for s in full[:3]]
    assert len(tasks.load("ct", data_root, limit=100)) == 6
    assert tasks.read("path", data_root, limit=3).dropped == []


def test_data_hash_follows_content_not_place(data_root, tmp_path, draw):
    before = tasks.read("ct", data_root).data_sha256
    moved = tmp_path / "elsewhere"
    shutil.copytree(data_root, moved)
    assert tasks.read("ct", moved).data_sha256 == before
    image = Path(tasks.load("ct", moved)[0].image.path)
    image.write_bytes(draw(12345))
    assert tasks.read("ct", moved).data_sha256 != before


def test_a_byte_order_mark_is_tolerated(data_root, tmp_path):
    copy = tmp_path / "bom"
    shutil.copytree(data_root, copy)
    for path in copy.rglob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    for task in tasks.TASKS:
        assert tasks.read(task, copy).data_sha256 == tasks.read(task, data_root).data_sha256


def test_samples_can_be_pickled(data_root):
    samples = tasks.load("path", data_root)
    again = pickle.loads(pickle.dumps(samples))
    assert again == samples
    assert again[0].image.open().tobytes() == samples[0].image.open().tobytes()


@pytest.mark.parametrize("name", ["TASKS", "load", "names", "read", "Loaded", "Dropped", "Reason"])
def test_public_names(name):
    assert name in tasks.__all__
    assert hasattr(tasks, name)


def test_phantom_is_a_source_only_when_named(tmp_path, monkeypatch):
    from tasks.phantom import suite

    loaded = tasks.read("oct", "phantom", limit=3)
    assert (loaded.suite, len(loaded.samples), {s.suite for s in loaded.samples}) == ("phantom", 3, {"phantom"})
    monkeypatch.setitem(suite.SIZES, "test", 4)
    assert len(tasks.load("oct", "phantom")) == 4
    assert len(tasks.load("oct", "phantom", limit=7)) == 7, "a drawn split is as large as asked for"
    with pytest.raises(UserError, match=r"phantom has no split 'tst' \(did you mean 'test'\?\)"):
        tasks.read("oct", "phantom", split="tst")
    (tmp_path / "phantom.txt").touch()
    with pytest.raises(UserError, match="looked for"):
        tasks.read("oct", tmp_path)
