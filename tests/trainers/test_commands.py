"""`python -m trainers.run` given what cannot work: one sentence that says why, before anything is written."""

import json
import shutil

import pytest

from rewards.errors import UserError
from trainers.recipe import Recipe, Score, load
from trainers.run import from_args, main
from trainers.scoring import command
from trainers.world import World

PLAIN = """
name = "mine"
base = "phantom-tiny"

[data.d]
split = "train"
limit = 6

[data.real]
split = "test"
target = "answer"

[sft]
batch_size = 2
max_steps = 2

[grpo]
batch_size = 4
num_generations = 2
max_steps = 1

[variants.alpha]
stage = "sft"
data = "d"
"""
JUDGED = """
[variants.beta]
parent = "alpha"
stage = "grpo"
data = "d"
reward = "dual"
"""


@pytest.fixture
def write(tmp_path):
    """`write(text)` -> the path of a recipe, in a folder that holds nothing else."""
    def made(text, name="r.toml"):
        (tmp_path / "recipes").mkdir(exist_ok=True)
        (tmp_path / "recipes" / name).write_text(text, encoding="utf-8")
        return str(tmp_path / "recipes" / name)
    return made


@pytest.fixture
def refused(tmp_path, write):
    """`refused(text, *arguments)` -> the message; --out must not have come into being."""
    def message(text, *arguments):
        out = tmp_path / "out"
        with pytest.raises(UserError) as caught:
            main([write(text), "--out", str(out), "--data", "phantom", *arguments])
        assert not out.exists() and {path.name for path in tmp_path.iterdir()} == {"recipes"}
        return str(caught.value)
    return message


# --- what is typed ------------------------------------------------------------------------------------------------

def test_unknown_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^no recipe 'phantm' \(did you mean 'phantom'\?\); expected a TOML file, or "):
        main(["phantm"])
    assert not list(tmp_path.iterdir())


def test_unknown_variant(refused):
    assert refused(PLAIN, "--variants", "alpah") == (
        "--variants: no variant 'alpah' (did you mean 'alpha'?); this recipe has alpha")
    assert refused(PLAIN, "--variants", " , ") == "--variants ' , ' names none; this recipe has alpha"


@pytest.mark.parametrize(("given", "said"), [
    ("x", "--seeds 'x': expected whole numbers with commas, such as 1,2,3"),
    ("1,2.5", "--seeds '1,2.5': expected whole numbers with commas, such as 1,2,3"),
    ("1,1", "seeds [1, 1]: expected different whole numbers of 0 or more"),
    ("-1,2", "seeds [-1, 2]: expected different whole numbers of 0 or more"),
    (",", "seeds []: expected different whole numbers of 0 or more"),
])
def test_bad_seeds(given, said, refused):
    assert refused(PLAIN, f"--seeds={given}") == said


def test_seeds_are_read(write):
    assert from_args([write(PLAIN), "--seeds", "3, 1"]).recipe.seeds == (3, 1)


def test_an_unknown_option_is_named_and_not_abbreviated(refused):
    assert refused(PLAIN, "--variant", "alpha").startswith("unrecognized arguments: --variant alpha; see `python -m ")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_unwritable_out(place, tmp_path, write):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"^--out \S+/file(/below)? (is a file|cannot be written)"):
        main([write(PLAIN), "--data", "phantom", "--out", str(tmp_path / place)])
    assert (tmp_path / "file").read_text() == "mine"


# --- processes ------------------------------------------------------------------------------------------------------

def test_another_number_of_processes_than_asked_for(refused):
    assert refused(PLAIN, "--processes", "2").startswith(
        "this run has 1 process, and --processes 2 was asked for; start it with `torchrun --nproc_per_node 2 -m ")


def test_a_launcher_that_started_too_many(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match=r"^this run has 3 processes, and --processes 2 was asked for"):
        World.join(2)


def test_a_world_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = World.join(1)
    assert (world.size, world.rank, world.main) == (1, 0, True)
    assert world.on_main(lambda: 5) == 5 and world.gather([1, 2]) == [1, 2] and world.wait() is None


# --- the recipe, the settings, the data ---------------------------------------------------------------------------

def test_a_circle_of_parents(refused):
    circle = PLAIN + 'parent = "b"\n[variants.b]\nstage = "sft"\ndata = "d"\nparent = "alpha"\n'
    assert refused(circle) == "the variants' parents run in a circle: alpha -> b -> alpha"


def test_settings_are_refused_where_they_stand(refused):
    assert refused(PLAIN, "--set", "sft.learning_rat=1").startswith(
        "sft: unknown setting 'learning_rat' (did you mean 'learning_rate'?)")
    assert refused(PLAIN + "set = {seed = 3}\n") == (
        "variants.alpha.set.seed is not a recipe's to set: it comes from the recipe's seeds")
    assert refused(PLAIN, "--set", "sft.lr_scheduler_type=cosin").startswith(
        "sft: SFTConfig refuses these settings: cosin is not a valid SchedulerType")


def test_fewer_rows_than_a_step(refused):
    grpo = JUDGED.replace("dual", "outcome")
    assert refused(PLAIN + grpo, "--set", "grpo.batch_size=14") == (
        "variant 'beta': 6 rows are fewer than the 7 of one step; lower grpo.batch_size")
    assert refused(PLAIN, "--set", "sft.batch_size=7").endswith("fewer than the 7 of one step; lower sft.batch_size")


def test_data_that_do_not_exist(refused):
    assert refused(PLAIN, "--data", "/nowhere/at/all").startswith("data source '/nowhere/at/all' does not exist: ")
    assert refused(PLAIN, "--set", "data.d.split=tran").startswith("phantom has no split 'tran' (did you mean 'train'")


def test_no_data_named(tmp_path, write):
    with pytest.raises(UserError, match=r"^recipe 'mine' names no data source; give --data SOURCE"):
        main([write(PLAIN), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_images_that_are_trained_and_scored(refused, data_root):
    text = PLAIN.replace('data = "d"', 'data = "real"') + '[score.main]\ntasks = ["path"]\nsplit = "test"\n'
    said = refused(text, "--data", str(data_root))
    assert "images stand in both real and score main, path (first " in said
    assert "a model would be tested on what it was trained on" in said


def test_splits_that_were_changed(refused, data_root, tmp_path_factory):
    from tasks import splits

    folder = tmp_path_factory.mktemp("s") / "splits"
    splits.build(data_root, folder, {"sft": 4, "test": 2}, {}, subsets=None)
    first = json.loads((folder / "sft.jsonl").read_text().splitlines()[0])
    shutil.copy(next((folder / "images").glob("*")), folder / "images" / "other")
    with (folder / "sft.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(first | {"id": "new"}) + "\n")
    said = refused(PLAIN.replace('"train"', '"sft"'), "--data", str(folder))
    assert said.startswith(f"splits in {folder} are refused: sft.jsonl is not the file the manifest describes")


def test_a_base_that_is_nowhere(refused):
    assert "base model '/no/model': no such folder" in refused(PLAIN, "--base", "/no/model")


# --- judges -------------------------------------------------------------------------------------------------------

def test_rewards_and_judges_must_fit(refused):
    assert refused(PLAIN + JUDGED.replace("dual", "duel")).startswith("no reward spec 'duel'")
    assert refused(PLAIN + JUDGED.replace("dual", "outcome") + 'judge = "rules"\n') == (
        "variant 'beta': reward 'outcome' has no judged part; leave its judge out")
    assert refused(PLAIN + JUDGED).startswith(
        "variant 'beta': reward 'dual' has judged parts (integrity, knowledge) and names no judge; set judge = ")


def test_a_judge_that_is_down_is_found_before_training(tmp_path, write, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    out = tmp_path / "out"
    with pytest.raises(UserError) as caught:
        main([write(PLAIN + JUDGED + 'judge = "openai:x@http://127.0.0.1:9/v1"\n'), "--data", "phantom", "--train-only",
              "--out", str(out), "--set", "judge.deadline_s=1", "--set", "judge.max_attempts=1"])
    said = str(caught.value)
    assert said.startswith("variant 'beta': the judge gave no verdict on a first answer (")
    assert said.endswith("nothing was trained, mend the judge first") and "sk-test" not in said
    assert not list(out.rglob("*.safetensors")) and not list(out.rglob("checkpoint")) and not list(out.glob("seed-*"))


def test_a_judge_that_nobody_wants_is_not_asked(tmp_path, write, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    recipe = write(PLAIN + JUDGED + 'judge = "openai:x@http://127.0.0.1:9/v1"\n')
    assert main([recipe, "--data", "phantom", "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "4 (openai:x) unknown" in " ".join(capsys.readouterr().out.split()) and not (tmp_path / "out").exists()
    priced = [recipe, "--data", "phantom", "--out", str(tmp_path / "out"), "--dry-run",
              "--set", "judge.usd_per_mtok_in=1000", "--set", "judge.usd_per_mtok_out=0"]
    for budget, least, most in (([], 1, 1000), (["--set", "judge.max_usd=0.01"], 0.01, 0.01)):
        main([*priced, *budget])
        cost, currency, *_ = capsys.readouterr().out.partition("(openai:x)")[2].split()
        assert currency == "USD" and least <= float(cost) <= most


# --- the plan -------------------------------------------------------------------------------------------------------

def test_a_dry_run_prints_a_row_a_variant_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["phantom", "--dry-run", "--seeds", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    recipe = load("phantom", overrides={"seeds": [1]})
    shown = {words[1]: words for words in lines if words[:1] == ["1"]}
    assert set(shown) == set(recipe.variants)
    for name, variant in recipe.variants.items():
        assert shown[name][2:5] == [variant.parent, variant.stage, variant.data_name]
    assert any(recipe.digest[:16] in " ".join(words) for words in lines)
    assert not list(tmp_path.iterdir())


def test_the_numbers_of_the_plan(tmp_path, write, capsys):
    recipe = write(PLAIN + JUDGED + 'judge = "rules"\n')
    main([recipe, "--data", "phantom", "--out", str(tmp_path / "out"), "--dry-run", "--seeds", "1,2", "--variants",
          "beta", "--set", "grpo.max_steps=10"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row and row[0] in "12"] == [
        [seed, *rest.split()] for seed in "12" for rest in (
            "alpha base sft d 6 2 4 0 0", "beta alpha grpo d 6 10 40 40 (rules) 0.00 USD")]


# --- scoring --------------------------------------------------------------------------------------------------------

def test_the_command_that_scores(tmp_path):
    bare = Recipe(name="r", base="b", source="phantom", data={}, variants={})
    assert command(bare, Score(tasks=("ct",)), "m", tmp_path) == [
        "bench.run", "--model", "m", "--data", "phantom", "--tasks", "ct", "--out", str(tmp_path),
        "--max-new-tokens", "1024", "--batch-size", "16", "--quiet"]
    full = Score(source="hub", tasks=("ct", "oct"), split="val", limit=3, controls=("blind", "shuffled-image"),
                 judges=("rules", "openai:x"), reward="dual", max_new_tokens=9, batch_size=2, max_usd=0.0)
    found = command(bare.model_copy(update={"model": bare.model.model_copy(update={"max_pixels": 784})}), full, "m",
                    tmp_path)
    given = dict(zip(found[1:-1:2], found[2:-1:2], strict=True))
    assert given == {
        "--model": "m", "--data": "hub", "--tasks": "ct,oct", "--out": str(tmp_path), "--max-new-tokens": "9",
        "--batch-size": "2", "--split": "val", "--limit": "3", "--reward": "dual", "--max-usd": "0.0",
        "--max-pixels": "784", "--controls": "blind,shuffled-image", "--judge": "rules,openai:x"}
