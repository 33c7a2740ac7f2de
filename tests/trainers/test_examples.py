"""What a stage is trained on: targets, hashes, rows that are left out, and images that stand on both sides."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rewards.errors import UserError
from rewards.parse import parse
from tasks import prompts, splits
from tasks.phantom.facts import VALUES
from tasks.phantom.knowledge import finding
from tasks.phantom.questions import from_facts
from trainers import examples
from trainers.recipe import Data, Recipe, Variant

TASKS = ("path", "ct", "derm", "fundus", "oct")


def recipe(source="phantom", **more):
    return Recipe(name="r", base="b", source=str(source), data={},
                  variants={"a": Variant(stage="sft", data="d")}, **more)


def read(source="phantom", seed=1, teachers=None, **data):
    data = {"split": "train", **data}
    return examples.read(recipe(source, teachers=teachers or {}), Data(**data), seed)


def refused(call, *arguments, **more):
    with pytest.raises(UserError) as caught:
        call(*arguments, **more)
    return str(caught.value)


# --- phantom targets --------------------------------------------------------------------------------------------

def test_reasoning_is_a_gold_chain_in_the_papers_format():
    found = read(tasks=TASKS, limit=12)
    assert len(found) == 60 and {sample.task for sample in found.samples} == set(TASKS)
    for sample, prompt, target in zip(found.samples, found.prompts, found.targets, strict=True):
        parsed = parse(target, sample.options)
        assert prompt == prompts.render(sample) and parsed.well_formed and parsed.think
        assert parsed.answer == sample.answer


def test_a_teachers_flaws_arrive():
    plain = read(limit=40)
    flawed = read(limit=40, teacher="t", teachers={"t": {"near_miss": 1.0, "near_miss_share": 1.0}})
    assert read(limit=40, teacher="t", teachers={"t": {}}).targets == plain.targets
    wrong = [parse(target, sample.options).answer != sample.answer
             for sample, target in zip(flawed.samples, flawed.targets, strict=True)]
    assert sum(wrong) > 20 and flawed.prompts == plain.prompts


@pytest.mark.parametrize(("given", "said"), [
    ({"near_mis": 0.5}, "teachers.t: unknown flaw 'near_mis' (did you mean 'near_miss'?); known: skip_image, "),
    ({"near_miss": 1.5}, "teacher flaw near_miss is a probability in [0, 1], not 1.5"),
    ({"near_miss": "often"}, "teachers.t: "),
    ({"family": "verse"}, "teacher wordings are one of "),
])
def test_an_impossible_teacher(given, said):
    assert refused(read, limit=2, teacher="t", teachers={"t": given}).startswith(said)


def test_an_answer_alone():
    found = read(limit=9, target="answer")
    assert found.targets == [f"<answer>{sample.answer}</answer>" for sample in found.samples]
    assert found.prompts == [prompts.render(sample) for sample in found.samples]


def test_one_description_an_image_with_every_fact_that_is_asked():
    asked = read(tasks=TASKS, limit=60, target="answer").samples
    found = read(tasks=TASKS, limit=60, target="description")
    assert [sample.group for sample in found.samples] == list(dict.fromkeys(sample.group for sample in asked))
    assert len(found) < len(asked) and set(found.prompts) == {"Describe the image."}
    said = dict(zip((sample.group for sample in found.samples), found.targets, strict=True))
    checked = 0
    for sample in asked:
        question = from_facts(sample.facts)
        if question.about.attribute == question.kind and question.kind in VALUES[sample.task]:
            assert finding(sample.task, question.kind, question.value) in said[sample.group]
            checked += 1
    assert checked > 100


# --- hashes -------------------------------------------------------------------------------------------------------

def test_the_hash_follows_what_is_trained():
    flaws = {"t": {"skip_rule": 1.0}}
    plain = read(limit=20, teachers=flaws).sha256
    examples._phantom.cache_clear()
    assert read(limit=20, teachers=flaws).sha256 == plain
    others = [read(limit=20, seed=2), read(limit=21), read(limit=20, teacher="t", teachers=flaws),
              read(limit=20, target="answer"), read(limit=20, split="rl"),
              read(limit=20, tasks=("ct",)), read(limit=20, target="description")]
    assert len({plain, *(other.sha256 for other in others)}) == len(others) + 1


def test_two_seeds_share_no_image():
    one, two = (read(limit=20, seed=seed).samples for seed in (1, 2))
    assert not {sample.group for sample in one} & {sample.group for sample in two}
    assert not {sample.image_sha256 for sample in one[:4]} & {sample.image_sha256 for sample in two[:4]}


def test_joining_keeps_every_row_with_its_own_text():
    one, two = read(limit=4), read(limit=3, target="answer")
    both = examples.joined([one, two])
    assert len(both) == 7 and both.prompts == one.prompts + two.prompts and both.targets == one.targets + two.targets
    assert both.samples == one.samples + two.samples
    assert len({both.sha256, examples.joined([two, one]).sha256, one.sha256, two.sha256}) == 4
    assert examples.joined([one]) is one
    counted = [replace(one, left_out={"x": 2}), replace(two, left_out={"x": 1, "y": 1})]
    assert examples.joined(counted).left_out == {"x": 3, "y": 1}


# --- real data ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def folder(data_root, tmp_path_factory):
    """Splits of `data_root` in which every second explanation is missing."""
    base = tmp_path_factory.mktemp("real")
    shutil.copytree(data_root, base / "data")
    path = base / "data" / "pathmmu" / "data.json"
    table = json.loads(path.read_text())
    usable = [row for parts in table.values() for rows in parts.values() for row in rows if isinstance(row, dict)]
    for row in usable[::2]:
        row["explanation"] = ""
    path.write_text(json.dumps(table))
    splits.build(base / "data", base / "splits", {"sft": 6, "rl": 3, "val": 2, "test": 2}, {"sft": (3,)}, subsets=None)
    return base / "splits"


@pytest.fixture
def copy(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_rows_without_reasoning_are_left_out_and_counted(folder):
    stored = [json.loads(line) for line in (folder / "sft.jsonl").read_text().splitlines()]
    explained = [row for row in stored if row["solution"].startswith("<think>")]
    assert 0 < len(explained) < 6
    found = read(folder, split="sft")
    assert [sample.id for sample in found.samples] == [row["id"] for row in explained]
    assert found.targets == [row["solution"] for row in explained]
    assert found.left_out == {"no reasoning": 6 - len(explained)}
    whole = read(folder, split="sft", target="answer")
    assert len(whole) == 6 and not whole.left_out


def test_seeds_do_not_change_real_rows(folder):
    assert read(folder, split="sft", seed=1).sha256 == read(folder, split="sft", seed=2).sha256


def test_a_set_without_any_target_is_refused(data_root):
    assert refused(read, data_root, tasks=("ct",), split="test") == (
        f"data set 'test' of {str(data_root)!r} has no usable row (6 no reasoning)")


def test_nobody_can_describe_a_real_image(folder):
    assert refused(read, folder, split="sft", target="description") == (
        'target = "description" is for phantom images: nobody knows the facts of a real one')


def test_no_source(folder):
    with pytest.raises(UserError, match="names no data source"):
        examples.read(Recipe(name="r", base="b", data={}, variants={}), Data(split="sft"), 1)


# --- overlap ------------------------------------------------------------------------------------------------------

def test_a_shared_image_is_refused_under_any_name(data_root, tmp_path):
    named = read(data_root, tasks=("ct",), split="test", target="answer").samples
    shutil.copytree(data_root, tmp_path / "data")
    listing = tmp_path / "data/omnimedvqa/QA_information/Open-access/Chest CT Scan.json"
    table = json.loads(listing.read_text())
    for number, row in enumerate(table):
        old = tmp_path / "data" / "omnimedvqa" / row["image_path"]
        row["image_path"] = f"renamed-{number}.png"
        if old.exists():
            shutil.copy(old, tmp_path / "data" / "omnimedvqa" / row["image_path"])
    listing.write_text(json.dumps(table))
    renamed = read(tmp_path / "data", tasks=("ct",), split="test", target="answer").samples
    assert {sample.image.path.name for sample in named}.isdisjoint(sample.image.path.name for sample in renamed)
    said = refused(examples.require_disjoint, {"train": named[:2]}, {"score main, ct": renamed})
    assert said.startswith("1 images stand in both train and score main, ct (first ")
    assert said.endswith("make image-disjoint splits with `python -m tasks.splits`")


def test_which_sets_may_share_images():
    one, two = read(limit=30).samples, read(limit=30, seed=2).samples
    check = examples.require_disjoint
    check({"a": one, "same": one, "part": one[:10]}, {"test": two})
    assert refused(check, {"a": one[:20], "b": one[10:]}, {}).startswith("4 images stand in both a and b (first ")
    assert "both a and test" in refused(check, {"a": one}, {"test": one})
    assert "both part and test" in refused(check, {"part": one[:1]}, {"test": one})
    check({"a": one}, {"test": two, "again": two, "some": two[5:]})


def test_sets_of_scoring_may_share_images_among_themselves():
    one, two = read(limit=30).samples, read(limit=30, seed=2).samples
    examples.require_disjoint({"a": one}, {"x": two[:20], "y": two[10:]})


# --- folders of splits ----------------------------------------------------------------------------------------------

def test_a_whole_folder_passes_and_what_is_no_folder_of_splits_is_not_looked_at(folder, data_root, tmp_path):
    for source in (folder, data_root, "phantom", "hub", "/nowhere", "x" * 5000 + "/y"):
        if len(str(source)) < 5000:
            assert examples.verify_source(str(source)) is None
        else:
            assert "does not read" in refused(examples.verify_source, source)
    (tmp_path / "manifest.json").write_bytes(b'{"caf\xe9": 1}')
    assert examples.verify_source(str(tmp_path)) is None


def test_a_changed_row_is_refused(copy):
    path = copy / "sft.jsonl"
    path.write_text(path.read_text().replace("Which", "What", 1))
    assert "sft.jsonl is not the file the manifest describes" in refused(examples.verify_source, str(copy))


def test_an_image_that_moved_into_another_split_is_refused(copy):
    rows = [json.loads(line) for line in (copy / "test.jsonl").read_text().splitlines()]
    rows[0]["image"] = json.loads((copy / "sft.jsonl").read_text().splitlines()[0])["image"]
    (copy / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "the same image is in two splits" in refused(examples.verify_source, str(copy))
