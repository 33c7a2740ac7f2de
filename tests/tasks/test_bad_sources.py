"""Sources that cannot be read: one clear sentence that says what was given, where it looked and what to do."""

import re
from pathlib import Path

import pytest

import tasks
from rewards.errors import UserError


def message(task: str, data: object, **more: object) -> str:
    with pytest.raises(UserError) as caught:
        tasks.read(task, data, **more)
    return str(caught.value)


def broken(path: Path, content: object, write_file) -> Path:
    """A data folder with just this one file."""
    write_file(path, content)
    return next(p.parent for p in path.parents if p.name in ("pathmmu", "omnimedvqa"))


def test_missing_folder():
    assert message("path", "/nowhere/at/all") == (
        "data source '/nowhere/at/all' does not exist: expected a folder with pathmmu/ and/or omnimedvqa/ inside, "
        "a file of derived rows, hub, or phantom")


def test_no_source_given():
    assert message("path", " ").startswith("no data source given: expected a folder")


def test_empty_folder(tmp_path):
    assert message("ct", tmp_path) == f"data folder {tmp_path} is empty: expected pathmmu/ and/or omnimedvqa/ inside"


def test_unreadable_name():
    assert message("ct", "x" * 5000).startswith("cannot read data source 'xxx")


@pytest.mark.parametrize(("given", "hint"), [("pth", "path"), ("OCT", None), ("fundsu", "fundus"), ("ct ", "ct")])
def test_unknown_task_is_named_with_the_closest(given, hint, data_root):
    expected = f"unknown task {given!r}" + (f" (did you mean {hint!r}?)" if hint else "")
    assert message(given, data_root) == expected + "; tasks are path, ct, derm, fundus, oct"


@pytest.mark.parametrize("limit", [0, -3])
def test_limit_below_one(limit, data_root):
    assert message("ct", data_root, limit=limit) == f"limit must be at least 1, not {limit}"


def test_pathmmu_missing_in_a_folder_with_omnimedvqa(tmp_path):
    (tmp_path / "omnimedvqa").mkdir()
    assert message("path", tmp_path) == (
        f"task path needs PathMMU's data.json: looked for {tmp_path}/pathmmu/data.json; --data must be a folder that "
        "holds pathmmu/data.json and pathmmu/images/")


def test_the_set_folder_given_instead_of_its_parent(data_root):
    assert "give its parent, this folder named pathmmu" in message("path", data_root / "pathmmu")
    assert "give its parent, this folder named omnimedvqa" in message("ct", data_root / "omnimedvqa")


def test_missing_set_says_where_it_looked_and_what_is_there(tmp_path, write_file):
    folder = tmp_path / "omnimedvqa" / "QA_information" / "Open-access"
    write_file(folder / "Chest CT Scan.json", [])
    assert message("derm", tmp_path) == (
        f"task derm needs OmniMedVQA's ISIC2020.json: looked for {folder}/ISIC2020.json (found there: Chest CT "
        "Scan.json); add the file and its images, or leave derm out of --tasks")


@pytest.mark.parametrize(("task", "name", "what"), [
    ("path", "pathmmu/data.json", "PathMMU's data.json"),
    ("oct", "omnimedvqa/QA_information/Open-access/Retinal OCT-C8.json", "OmniMedVQA's Retinal OCT-C8.json"),
])
class TestBrokenFile:
    """The same four faults in either set's file."""

    def test_broken_json(self, task, name, what, tmp_path, write_file):
        root = broken(tmp_path / name, '[{"question": "?",\n "options" []}]', write_file)
        assert message(task, root) == (f"{what} is not valid JSON at line 2 column 12 (Expecting ':' delimiter): "
                                       f"{tmp_path / name}; download it again")

    def test_not_utf8(self, task, name, what, tmp_path, write_file):
        root = broken(tmp_path / name, b'{"caf\xe9": 1}', write_file)
        assert message(task, root) == f"{what} is not UTF-8 text (byte 5): {tmp_path / name}; download it again"

    def test_lfs_pointer(self, task, name, what, tmp_path, write_file):
        root = broken(tmp_path / name, b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", write_file)
        assert message(task, root) == (f"{what} is a Git LFS pointer, not the file: {tmp_path / name}; run "
                                       "`git lfs pull` in that folder")

    def test_nested_without_end(self, task, name, what, tmp_path, write_file):
        root = broken(tmp_path / name, "[" * 100_000, write_file)
        assert message(task, root) == f"{what} is nested too deeply to be a list of questions: {tmp_path / name}"

    def test_a_number_of_thousands_of_digits(self, task, name, what, tmp_path, write_file):
        root = broken(tmp_path / name, f"[{'9' * 5000}]", write_file)
        assert message(task, root).startswith(f"{what} cannot be read as JSON (Exceeds the limit")

    def test_a_folder_in_the_files_place(self, task, name, what, tmp_path):
        (tmp_path / name).mkdir(parents=True)
        assert message(task, tmp_path) == f"cannot read {what}: {tmp_path / name}: Is a directory"


@pytest.mark.parametrize(("content", "said"), [
    ([], "must be an object of subsets, each with splits, but is a list"),
    ({}, "must be an object of subsets, each with splits, but is an object"),
    ({"PubMed": []}, "must hold an object of splits under 'PubMed', but has a list"),
    ({"PubMed": {"test": {"No": 1}}}, "must hold a list of questions under 'PubMed', 'test', but has an object"),
])
def test_wrong_layout_of_pathmmu(content, said, tmp_path, write_file):
    write_file(tmp_path / "pathmmu" / "data.json", content)
    assert message("path", tmp_path) == f"PathMMU's data.json {said}: {tmp_path}/pathmmu/data.json"


def test_wrong_layout_of_omnimedvqa(tmp_path, write_file):
    path = write_file(tmp_path / "omnimedvqa/QA_information/Open-access/ISIC2020.json", {"rows": []})
    assert message("derm", tmp_path) == (
        f"OmniMedVQA's ISIC2020.json must be a list of questions, but is an object: {path}")


def test_unknown_split(data_root):
    assert message("path", data_root, split="tset") == (
        "PathMMU has no split 'tset' (did you mean 'test'?); this copy has test, test_tiny, val, or say all")
    assert message("ct", data_root, split="val") == "task ct has no split 'val': OmniMedVQA has one split, test"


@pytest.mark.parametrize(("reason", "row_id", "detail"), [
    ("missing image", "PubMed-test-20", "absent.png"),
    ("answer not among the options", "PubMed-test-21", "E) Lymphoma"),
    ("no options", "PubMed-test-22", ""),
    ("image path leaves the data folder", "PubMed-test-24", "../../../secret.png"),
    ("image path leaves the data folder", "PubMed-test-25", "/etc/hostname"),
    ("damaged image", "PubMed-test-26", "cut.png"),
    ("damaged image", "PubMed-test-27", "cut.jpg"),
    ("not an image", "PubMed-test-28", "text.jpg is none of PNG, JPEG, BMP, GIF, TIFF, WEBP"),
    ("not an image", "PubMed-test-29", "empty.png is empty"),
    ("image too large", "PubMed-test-30", "bomb.png declares 30,000 x 30,000 pixels, more than 64,000,000"),
    ("Git LFS pointer instead of the image", "PubMed-test-31", "pointer.png; run `git lfs pull` in the data folder"),
    ("fewer than two options", "PubMed-test-32", "1"),
    ("more than ten options", "PubMed-test-33", "11"),
    ("empty option", "PubMed-test-34", "B"),
    ("repeated option", "PubMed-test-35", "glands"),
    ("answer letter and text disagree", "PubMed-test-36", "A) Tubular adenoma"),
    ("no answer", "PubMed-test-37", ""),
    ("no question", "PubMed-test-38", ""),
    ("no image named", "PubMed-test-39", ""),
    ("malformed row", "PubMed-test-row25", "not an object"),
    ("row repeated", "PubMed-test-1", "Which finding does case 1 show?"),
])
def test_a_bad_row_is_named_with_its_reason(reason, row_id, detail, data_root):
    found = [d for d in tasks.read("path", data_root).dropped if d.id == row_id]
    assert [(d.reason.value, d.detail[: len(detail)] if "damaged" in reason else d.detail) for d in found] == [
        (reason, detail)]


@pytest.mark.parametrize(("options", "answer", "reason"), [
    ("A) x", "A", "no options"), ({"A": "x"}, "A", "no options"), ([1, 2], "A", "malformed row"),
    (["A) x", "B) y"], 1, "no answer"), (["A) x", "B) y"], "C", "answer not among the options"),
    (["A) x", "B) y"], "x or y", "answer not among the options"), (["A) x", "B) y"], ["A) x"], "no answer"),
    (["A) x", "B) y"], "B) x", "answer letter and text disagree"), (["A)", "B) y"], "B", "empty option"),
])
def test_odd_fields_are_reasons_not_crashes(options, answer, reason, tmp_path, write_file, draw):
    write_file(tmp_path / "pathmmu/images/a.png", draw(1))
    row = {"No": 1, "img": "a.png", "question": "?", "options": options, "answer": answer}
    write_file(tmp_path / "pathmmu/data.json", {"Atlas": {"test": [row]}})
    assert tasks.read("path", tmp_path).reasons() == {reason: 1}


@pytest.mark.parametrize(("options", "answer", "index"), [
    (["A) x", "B) y"], "b", 1), (["A) x", "B) y"], "B)", 1), (["A) x", "B) y"], "(B)", 1), (["A. x", "B. y"], "B.", 1),
    (["(A) x", "(B) y"], "B) y", 1), (["A)x", "B)y"], "A)x", 0), (["B) y", "A) x"], "A", 1),
    (["E. coli", "S. aureus"], "E. coli", 0), (["x", "y"], "B", 1), (["A) x", "B) y"], "  y. ", 1),
    (["A) 5\u00a0µm", "B) 6 µm"], "A) 5 μm", 0), (["A", "B"], "B", 1),
])
def test_answers_are_found_as_they_are_written(options, answer, index, tmp_path, write_file, draw):
    write_file(tmp_path / "pathmmu/images/a.png", draw(1))
    row = {"No": 1, "img": "a.png", "question": "?", "options": options, "answer": answer}
    write_file(tmp_path / "pathmmu/data.json", {"Atlas": {"test": [row]}})
    loaded = tasks.read("path", tmp_path)
    assert not loaded.dropped
    assert loaded.samples[0].answer_index == index
    assert not any(re.match(r"[A-J]\)", option) for option in loaded.samples[0].options)


def test_half_characters_do_not_travel_on(tmp_path, write_file, draw):
    write_file(tmp_path / "pathmmu/images/a.png", draw(1))
    row = {"No": "\ud800", "img": "a.png", "question": "Is \udfff it?", "options": ["A) x\ud800", "B) y"],
           "answer": "A", "explanation": "\ud801"}
    write_file(tmp_path / "pathmmu/data.json", {"Atlas": {"test": [row, row | {"img": "\ud800.png"}]}})
    loaded = tasks.read("path", tmp_path)
    assert loaded.reasons() == {"missing image": 1}
    sample = loaded.samples[0]
    assert (sample.id, sample.question, sample.options[0]) == ("Atlas-test-\ufffd", "Is \ufffd it?", "x\ufffd")
    lost = loaded.dropped[0]
    for text in (sample.id, sample.question, *sample.options, sample.reference, lost.id, lost.detail):
        text.encode()


@pytest.mark.parametrize("row", [
    None, 1, "x", [], {}, {"No": None}, {"No": [1], "img": 3, "question": 4, "options": 5, "answer": 6},
    {"question": "?", "options": {"a": 1}}, {"question": "?", "options": [None, None], "answer": None},
    {"question": "?", "options": ["A) x", "B) y"], "answer": "A", "img": {"path": "a.png"}},
    {"question": "?", "options": ["A) x", "B) y"], "answer": "A", "img": "images\0.png"},
])
def test_no_row_can_stop_the_loading(row, tmp_path, write_file):
    write_file(tmp_path / "pathmmu/data.json", {"Atlas": {"test": [row, row]}})
    write_file(tmp_path / "omnimedvqa/QA_information/Open-access/ISIC2020.json", [row, row])
    write_file(tmp_path / "derived/test.json", [row, row])
    for task, source in (("path", tmp_path), ("derm", tmp_path), ("path", tmp_path / "derived")):
        loaded = tasks.read(task, source)
        assert loaded.samples == []
        assert len(loaded.dropped) == 2
