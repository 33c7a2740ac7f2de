"""The models inside the package: small, safe to load, made by the shipped recipe, and they look at the image."""

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
from trainers.examples import lookup
from trainers.recipe import load

BOTH = pytest.mark.parametrize("name", ["phantom-base", "phantom-tiny"])


def model(name: str):
    return resolve(name, Decoding(max_new_tokens=128), Options(batch_size=32, device="cpu", dtype="float32"))


def accuracy(made, samples, condition: str) -> float:
    shown = present(condition, samples, 0)
    found = dict(made.generate([Request(prompts.render(item.sample), item.image) for item in shown]))
    right = [parse(found[i].text, item.sample.options).letters["letter"] == LETTERS[item.sample.answer_index]
             for i, item in enumerate(shown)]
    return 100 * sum(right) / len(right)


@BOTH
def test_it_is_small_and_holds_no_pickle(name):
    weights = list(BUILT_IN[name].glob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights) <= 8 * 2**20
    assert {path.suffix for path in BUILT_IN[name].iterdir()} <= {".safetensors", ".json", ".jinja"}


@BOTH
def test_its_manifest_names_the_shipped_recipe(name):
    manifest = json.loads((BUILT_IN[name] / "manifest.json").read_text())
    assert manifest["fingerprint"] == fingerprint(BUILT_IN[name])
    assert manifest["recipe_sha256"] == load("phantom-tiny").digest and manifest["variant"] == name
    assert manifest["reward"] is None and manifest["versions"]["torch"]


def test_the_second_grew_out_of_the_first():
    child = json.loads((BUILT_IN["phantom-tiny"] / "manifest.json").read_text())
    assert child["parent"] == "phantom-base" and child["parent_fingerprint"] == fingerprint(BUILT_IN["phantom-base"])


def test_the_tiny_one_sees_held_out_histology():
    made = model("phantom-tiny")
    samples = suite.samples("path", "test", n=200)
    plain = accuracy(made, samples, "plain")
    assert plain - accuracy(made, samples, "blind") >= 25
    assert plain - accuracy(made, samples, "shuffled-image") >= 25
    found = dict(made.generate([Request(prompts.render(s), s.image) for s in suite.samples("ct", "test", n=40)]))
    assert sum(parse(found[i].text, ("a", "b")).well_formed for i in found) >= 36


def test_the_base_finds_a_named_option_and_cannot_answer_a_question():
    made = model("phantom-base")
    samples = suite.samples("path", "validation", n=120)
    assert accuracy(made, samples, "plain") <= 50
    asked = [lookup(sample, eliminate=True) for sample in samples]
    found = dict(made.generate([Request(prompt, s.image) for (_, prompt), s in zip(asked, samples, strict=True)]))
    assert sum(found[i].text == target for i, (target, _) in enumerate(asked)) >= 108
