"""Fixtures of the judge tests: a sample, an answer, and the local server with the real wire formats."""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from rewards.types import Completion, Parsed, Sample

ROOT = Path(__file__).resolve().parents[2]


class PixelImage:
    """A small PNG in memory."""

    def __init__(self, colour=(200, 120, 160), size=(32, 24)):
        out = io.BytesIO()
        Image.new("RGB", size, colour).save(out, "PNG")
        self._raw = out.getvalue()
        self.sha256 = hashlib.sha256(self._raw).hexdigest()

    def read(self):
        return self._raw

    def open(self):
        return Image.open(io.BytesIO(self._raw)).convert("RGB")


@pytest.fixture(scope="session")
def judge_server():
    """The module benchmarks/judge_server.py."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module("judge_server")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture
def case():
    """`case(chain, letter)` gives (sample, completion, parsed) as the parts of a reward get them."""

    def make(chain="Crowded pink nuclei are seen. A is excluded, C is excluded. Mitoses define grade.", letter="B", n=0,
             **changes):
        fields = {
            "suite": "phantom", "task": "path", "id": f"path/{n}", "group": f"g{n}", "answer_index": 1,
            "question": "Which tissue is shown?", "options": ("fat", "carcinoma", "bone"),
            "question_type": "diagnosis", "image": PixelImage(), "facts": {"tissue": "carcinoma"},
        }
        sample = Sample(**{**fields, **changes})
        text = dict(zip("ABC", sample.options, strict=False))[letter]
        answer = f"{letter}) {text}"
        completion = Completion(f"<think>{chain}</think><answer>{answer}</answer>", "stop")
        letters = dict.fromkeys(("strict", "letter", "omnimed"), letter)
        return sample, completion, Parsed(chain, answer, True, letters)

    return make


@pytest.fixture
def keys(monkeypatch):
    """Keys in the environment, as a user has them."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-secret-openai-0123456789")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test-secret-0123456789")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    return ["sk-test-secret-openai-0123456789", "sk-ant-test-secret-0123456789"]
