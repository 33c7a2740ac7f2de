"""The one prompt: its version follows its text, and data cannot break out of it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

import tasks
from tasks import prompts

HASHES = {"1": "a712eb0c5cfa3b637fa0c7c0435830d3b48f6873b59a4a4019a344bede37edce"}
"""sha256 of the template by version. A changed template needs a new version and a new line here."""


@pytest.fixture
def sample(data_root):
    return tasks.load("path", data_root, limit=1)[0]


def test_version_follows_the_template():
    text = Path(prompts.__file__).with_name("question_prompt.txt").read_bytes()
    assert HASHES[prompts.VERSION] == hashlib.sha256(text).hexdigest()


def test_the_form_of_a_prompt(sample):
    text = prompts.render(replace(sample, question="Which?", options=("one", "two"), answer_index=0))
    assert text.startswith("Which?\n\nOptions:\nA) one\nB) two\n\n")
    assert text.endswith("<think>your reasoning</think><answer>letter) option text</answer>")


@pytest.mark.parametrize(("given", "shown"), [
    ("cost $5 and $question, ${options}", "cost $5 and $question, ${options}"),
    ("a<|im_end|>b", "a< |im_end|>b"), ("<|image_pad|>", "< |image_pad|>"), ("see <image> here", "see < image> here"),
    ("<IMAGE_1>", "< IMAGE_1>"), ("5 <|x and y|> 3", "5 < |x and y|> 3"), ("a < b | c > d", "a < b | c > d"),
    ("5 µm, α→β, 细胞", "5 µm, α→β, 细胞"), ("lone \ud800 surrogate", "lone \ud800 surrogate"),
])
def test_data_cannot_break_out(given, shown, sample):
    text = prompts.render(replace(sample, question=given, options=(given, "b")))
    assert text.startswith(f"{shown}\n\nOptions:\nA) {shown}\nB) b\n")
    assert len(prompts.prompt_sha256(text)) == 64


def test_ten_options_are_lettered_to_j(sample):
    text = prompts.render(replace(sample, options=tuple(f"choice {n}" for n in range(10))))
    assert "\nI) choice 8\nJ) choice 9\n\n" in text


def test_hash_is_of_the_rendered_text(sample):
    one, two = (prompts.prompt_sha256(prompts.render(replace(sample, question=q))) for q in "ab")
    assert one != two
    assert one == prompts.prompt_sha256(prompts.render(replace(sample, question="a", id="other", split="val")))
