"""Splits: exact sizes, no shared image, balance, nesting, the same from the same seed; and a verifier that refuses."""

import io
import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

import tasks
from rewards.errors import UserError
from tasks import splits
from tasks.partition import deal, interleave

SIZES = ["--sft", "60", "--rl", "20", "--val", "8", "--test", "24", "--sft-nested", "10,30", "--rl-nested", "5"]


def pool(root: Path, write_file, draw, options_of) -> Path:
    """120 questions on 73 files in two subsets; one picture under three names, one recompressed and brighter."""
    rng = random.Random(5)
    table = {"PubMed": {"val": [], "test": []}, "EduContent": {"val": [], "test": []}}
    rows = [(subset, part) for subset in table for part in table[subset] for _ in range(30)]
    for number, (subset, part) in enumerate(rows):
        image = number if number < 70 else rng.randrange(70)
        name = f"{image}.png"
        content = draw(image, size=(90, 75))
        if number in (10, 40, 60):
            name, content = f"same{number}.png", draw(7, size=(90, 75))
        if number == 41:
            brighter = ImageEnhance.Brightness(Image.open(io.BytesIO(draw(7, size=(90, 75))))).enhance(1.15)
            buffer = io.BytesIO()
            brighter.save(buffer, "JPEG", quality=80)
            name, content = "brighter.jpg", buffer.getvalue()
        write_file(root / "pathmmu" / "images" / name, content)
        options = options_of("glands", "stroma", "vessel", "nerve")
        table[subset][part].append({"No": number, "img": name, "question": f"Question {number}?", "options": options,
                                    "answer": "ABCD"[number % 4], "explanation": f"Because of {number}."})
    write_file(root / "pathmmu" / "data.json", table)
    return root


@pytest.fixture(scope="module")
def built(tmp_path_factory, write_file, draw, options_of):
    """A folder of splits made by the command, beside its data."""
    base = tmp_path_factory.mktemp("splits")
    pool(base / "data", write_file, draw, options_of)
    assert splits.main(["--data", str(base / "data"), "--out", str(base / "out"), *SIZES]) == 0
    return base / "out"


@pytest.fixture
def copy(built, tmp_path):
    return Path(shutil.copytree(built, tmp_path / "copy"))


def rows(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_sizes_are_exact_and_no_image_or_question_is_shared(built):
    seen_images, seen_ids = {}, set()
    for name, size in {"sft": 60, "rl": 20, "val": 8, "test": 24}.items():
        found = rows(built, name)
        assert len(found) == size
        for row in found:
            assert seen_images.setdefault(row["image_sha256"], name) == name
            assert row["id"] not in seen_ids
            seen_ids.add(row["id"])


def test_copies_of_a_picture_go_to_one_split(built):
    where = {row["id"]: name for name in ("sft", "rl", "val", "test") for row in rows(built, name)}
    copies = [i for i in where if i.rpartition("-")[2] in ("7", "10", "40", "41", "60")]
    assert len({where[i] for i in copies}) == 1
    assert len(copies) >= 4


def test_sources_and_letters_stay_in_proportion(built):
    for name, size in {"sft": 60, "rl": 20, "test": 24}.items():
        found = rows(built, name)
        by_subset = Counter(row["subset"] for row in found)
        assert abs(by_subset["PubMed"] - size / 2) <= max(2, 0.1 * size)
        letters = Counter(row["solution"].partition("<answer>")[2][0] for row in found)
        assert all(abs(n - size / 4) <= max(2, 0.1 * size) for n in letters.values())


def test_nested_subsets_begin_their_split_and_are_balanced(built):
    whole = rows(built, "sft")
    assert rows(built, "sft-10") == whole[:10]
    assert rows(built, "sft-30") == whole[:30]
    assert rows(built, "rl-5") == rows(built, "rl")[:5]
    letters = Counter(row["solution"].partition("<answer>")[2][0] for row in whole[:30])
    assert set(letters) == set("ABCD")
    assert max(letters.values()) - min(letters.values()) <= 4


def test_rows_carry_the_authors_fields_and_no_label_in_the_image_name(built):
    for row in rows(built, "rl"):
        assert row["problem"].startswith("Question ")
        assert "\nOptions:\nA) glands\nB) stroma\n" in row["problem"]
        assert row["solution"].startswith("<think>Because of ")
        assert Path(row["image"]).stem == row["image_sha256"]
        assert (built / row["image"]).is_file()


def test_splits_are_read_back_as_samples(built):
    loaded = tasks.read("path", built, split="rl")
    assert len(loaded.samples) == 20
    assert not loaded.dropped
    assert {s.subset for s in loaded.samples} == {"PubMed", "EduContent"}
    assert loaded.samples[0].reference.startswith("Because of ")
    assert len(tasks.load("path", built, split="sft-10")) == 10
    assert len(tasks.load("path", built)) == 24  # test, by default


def test_the_same_seed_gives_the_same_files_another_seed_others(built, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    data = str(built.parent / "data")
    assert splits.main(["--data", data, "--out", str(again), *SIZES]) == 0
    assert splits.main(["--data", data, "--out", str(other), *SIZES, "--seed", "1"]) == 0
    same = [(again / p.name).read_bytes() == p.read_bytes() for p in built.iterdir() if p.is_file()]
    assert all(same) and len(same) == 8
    assert (other / "test.jsonl").read_bytes() != (built / "test.jsonl").read_bytes()


def test_manifest_says_what_was_done(built):
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["sizes"] == {"sft": 60, "rl": 20, "val": 8, "test": 24}
    assert manifest["seed"] == 0
    assert manifest["source"]["questions"] == 120
    assert manifest["source"]["unused"] == 8
    assert set(manifest["files"]) == {"sft", "sft-10", "sft-30", "rl", "rl-5", "val", "test"}
    assert sum(manifest["files"]["sft"]["by_letter"].values()) == 60
    assert str(built.parent) not in (built / "manifest.json").read_text()


def test_the_verifier_accepts_what_was_built(built, capsys):
    assert splits.main(["--verify", str(built)]) == 0
    assert "no overlap; sft 60 questions on" in capsys.readouterr().out


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        splits.main(["--verify", str(folder)])
    return str(caught.value)


def rewrite(folder: Path, name: str, items: list[dict]) -> None:
    """Replace a split and put its new hash into the manifest, as a careless or dishonest hand would."""
    import hashlib

    text = "".join(json.dumps(item) + "\n" for item in items)
    (folder / f"{name}.jsonl").write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_verifier_refuses_an_image_in_two_splits(copy):
    rewrite(copy, "test", [*rows(copy, "test"), rows(copy, "sft")[0] | {"id": "new"}])
    assert refusal(copy).startswith(f"splits in {copy} are refused: the same image is in two splits (sft: images/")


def test_the_verifier_refuses_a_recompressed_copy(copy):
    import hashlib

    row = rows(copy, "sft")[0]
    buffer = io.BytesIO()
    Image.open(copy / row["image"]).convert("RGB").resize((120, 100)).save(buffer, "JPEG", quality=70)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    (copy / "images" / f"{digest}.jpg").write_bytes(buffer.getvalue())
    rewrite(copy, "test", [*rows(copy, "test"), row | {"id": "new", "image": f"images/{digest}.jpg"}])
    assert "the same image is in two splits" in refusal(copy)


def test_the_verifier_refuses_a_question_in_two_splits(copy):
    moved = rows(copy, "sft")[0]["id"]
    rewrite(copy, "rl", [rows(copy, "rl")[0] | {"id": moved}, *rows(copy, "rl")[1:]])
    assert f"question {moved} is in sft and rl" in refusal(copy)


def test_the_verifier_refuses_changed_files_and_images(copy):
    (copy / "val.jsonl").write_text((copy / "val.jsonl").read_text().replace("Question", "question"))
    name = rows(copy, "test")[0]["image"]
    (copy / name).unlink()
    shutil.copy(copy / rows(copy, "test")[1]["image"], copy / name)
    said = refusal(copy)
    assert "val.jsonl is not the file the manifest describes" in said
    assert f"test: {name} does not have the content its name says" in said


def test_the_verifier_refuses_a_subset_that_is_not_nested(copy):
    rewrite(copy, "sft-10", rows(copy, "sft")[1:11])
    assert "sft-10.jsonl is not the beginning of its split" in refusal(copy)


def test_the_verifier_refuses_a_folder_that_is_no_splits(tmp_path, write_file):
    assert refusal(tmp_path) == f"the splits' manifest.json is missing: looked for {tmp_path}/manifest.json"
    write_file(tmp_path / "manifest.json", {"kind": "other"})
    assert "is no manifest of splits" in refusal(tmp_path)


@pytest.mark.parametrize(("arguments", "said"), [
    (["--out", "x"], "give --data SOURCE and --out DIR to build splits, or --verify DIR to check them"),
    (["--data", "DATA", "--out", "OUT"],
     "the splits need 5,385 questions (sft 3,000, rl 1,000, val 385, test 1,000) but only 120 are usable (0 rows left "
     "out): ask for fewer with --sft, --rl, --val, --test, or take more with --subsets all or --split all"),
    (["--data", "DATA", "--out", "OUT", "--sft", "0", "--rl", "0", "--val", "0", "--test", "0"],
     "all sizes are 0: nothing to build"),
    (["--data", "DATA", "--out", "OUT", *SIZES, "--subsets", "PubMd"],
     "no usable question of subset 'PubMd' (did you mean 'PubMed'?); this source has EduContent, PubMed"),
    (["--data", "DATA", "--out", "OUT", *SIZES[:8], "--sft-nested", "50,100"],
     "--sft-nested 50,100: every size must lie in 1..60, the size of sft"),
    (["--data", "DATA", "--out", "OUT", *SIZES[:8], "--rl-nested", "few"],
     "--rl-nested 'few': expected whole numbers with commas, such as 500,1000"),
    (["--data", "DATA", "--out", "DATA", *SIZES], "DATA exists already: choose another --out, or delete it first"),
    (["--data", "DATA", "--out", "OUT", "--sft", "-1"],
     "argument --sft: expected a whole number, 0 or more, not '-1'; see `python -m tasks.splits --help`"),
])
def test_mistakes_are_said_in_one_line_and_leave_nothing(arguments, said, built, tmp_path):
    data = str(built.parent / "data")
    with pytest.raises(UserError) as caught:
        splits.main([a.replace("DATA", data).replace("OUT", str(tmp_path / "new")) for a in arguments])
    assert str(caught.value) == said.replace("DATA", data)
    assert list(tmp_path.iterdir()) == []


def test_exit_code_and_line_of_the_command(tmp_path):
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "tasks.splits", "--verify", str(tmp_path / "no")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: the splits' manifest.json is missing: looked for {tmp_path}/no/manifest.json\n"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 25), st.sampled_from("AB"), st.sampled_from("XYZ")), min_size=12, max_size=80),
       st.integers(0, 5))
def test_dealing_never_parts_a_group_and_hits_the_sizes(rows, seed):
    groups = [group for group, *_ in rows]
    sizes = {"sft": len(rows) // 3, "rl": len(rows) // 6, "test": len(rows) // 6}
    try:
        dealt = deal([row[1:] for row in rows], groups, sizes, seed)
    except ValueError:
        assert max(Counter(groups).values()) > 1  # only groups can put exact sizes out of reach
        return
    assert {name: len(indices) for name, indices in dealt.items()} == sizes
    homes = {}
    for name, indices in dealt.items():
        for i in indices:
            assert homes.setdefault(groups[i], name) == name
    assert len({i for indices in dealt.values() for i in indices}) == sum(sizes.values())


def test_interleaving_balances_every_prefix():
    strata = ["A"] * 600 + ["B"] * 300 + ["C"] * 100
    order = interleave(range(1000), strata, seed=3)
    assert sorted(order) == list(range(1000))
    for size in (50, 100, 250, 500):
        share = Counter(strata[i] for i in order[:size])
        assert all(abs(share[k] - n * size) <= 2 for k, n in {"A": 0.6, "B": 0.3, "C": 0.1}.items())


def test_the_default_sizes_are_reached_exactly_and_in_balance():
    """5,385 questions dealt whole, groups of one to eight, as in the paper's pool: no slack at all."""
    rng = random.Random(0)
    groups: list[int] = []
    while len(groups) < 5385:
        size = rng.choices([1, 2, 3, 4, 8], [45, 30, 15, 9, 1])[0]
        groups += [len(groups)] * min(size, 5385 - len(groups))
    strata = [(rng.choice(["PubMed", "PubMed", "EduContent"]), rng.choice("ABCD")) for _ in groups]
    dealt = deal(strata, groups, splits.SIZES, seed=0)
    whole = Counter(strata)
    for name, indices in dealt.items():
        assert len(indices) == splits.SIZES[name]
        share = Counter(strata[i] for i in indices)
        assert all(abs(share[key] / len(indices) - n / 5385) < 0.01 for key, n in whole.items())
    assert set(splits.NESTED["sft"]) == {500, 1000, 2000, 3000} and set(splits.NESTED["rl"]) == {250, 500, 1000}
