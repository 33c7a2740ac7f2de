"""phantom-tiny: small, safe to load, and it looks at the image; its recipe builds a checkpoint of the same kind."""

from __future__ import annotations

import json

import pytest

from bench.controls import present
from bench.models.base import Decoding, Options, Request, resolve
from bench.models.checkpoint import BUILT_IN, fingerprint
from rewards.parse import parse
from rewards.types import LETTERS
from tasks import prompts
from tasks.phantom import suite
from trainers.recipe import load
from trainers.run import main

FOLDER = BUILT_IN["phantom-tiny"]


def accuracy(model, samples, condition: str) -> float:
    shown = present(condition, samples, 0)
    found = dict(model.generate([Request(prompts.render(item.sample), item.image) for item in shown]))
    right = [parse(found[i].text, item.sample.options).letters["letter"] == LETTERS[item.sample.answer_index]
             for i, item in enumerate(shown)]
    return 100 * sum(right) / len(right)


@pytest.fixture(scope="module")
def model():
    return resolve("phantom-tiny", Decoding(max_new_tokens=128), Options(batch_size=32, device="cpu", dtype="float32"))


def test_it_is_small_and_holds_no_pickle(model):
    assert model.describe()["parameters"] <= 4_000_000
    weights = list(FOLDER.glob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights) <= 8 * 2**20
    assert {path.suffix for path in FOLDER.iterdir()} <= {".safetensors", ".json", ".jinja", ".md"}


def test_it_is_what_the_shipped_recipe_builds():
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    assert manifest["fingerprint"] == fingerprint(FOLDER)
    assert manifest["recipe_sha256"] == load("phantom-tiny").digest
    assert (manifest["variant"], manifest["parent"], manifest["steps"]) == ("phantom-tiny", "describe", 2200)
    assert "not clinical" in manifest["what"] and manifest["versions"]["commit"]
    assert manifest["licence"] == "Apache-2.0" and manifest["reward"] is None


def test_it_sees_held_out_histology(model):
    samples = suite.samples("path", "test", n=200)
    plain = accuracy(model, samples, "plain")
    assert plain - accuracy(model, samples, "blind") >= 25
    assert plain - accuracy(model, samples, "shuffled-image") >= 25


def test_its_chains_are_of_the_grammar(model):
    samples = suite.samples("ct", "test", n=40)
    found = dict(model.generate([Request(prompts.render(s), s.image) for s in samples]))
    assert sum(parse(found[i].text, s.options).well_formed for i, s in enumerate(samples)) >= 36


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_its_recipe_builds_one_from_nothing(tmp_path):
    few = [part for name in ("images", "chains") for part in ("--set", f"data.{name}.limit=20")]
    main(["phantom-tiny", "--out", str(tmp_path), "--train-only", *few, "--set", "variants.describe.set.max_steps=2",
          "--set", "variants.phantom-tiny.set.max_steps=2", "--set", "sft.batch_size=8"])
    made = tmp_path / "seed-0" / "phantom-tiny" / "checkpoint"
    assert {path.name for path in made.iterdir()} == {path.name for path in FOLDER.iterdir()}
    assert json.loads((made / "config.json").read_text())["text_config"]["hidden_size"] == 160
    answers = resolve(str(made), Decoding(max_new_tokens=4), Options(device="cpu"))
    assert answers.describe()["parameters"] > 1_500_000
    sample = suite.samples("oct", "test", n=1)[0]
    assert len(dict(answers.generate([Request(prompts.render(sample), sample.image)]))) == 1
