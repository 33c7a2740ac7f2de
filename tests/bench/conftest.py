"""Checkpoints and requests shared by the tests of the bench; built once a session, from nothing but this project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import tiny as tiny_module
from bench.models.base import Request
from tasks.images import FileImage


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2.5-VL of about a million parameters."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    tiny_module.build(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint whose greedy answers end after widely different numbers of tokens."""
    folder = tmp_path_factory.mktemp("checkpoints") / "talkative"
    tiny_module.build(folder, tiny_module.Shape(initializer_range=0.3), seed=1)
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text())
    settings["eos_token_id"] = [*settings["eos_token_id"], *range(40, 52)]
    path.write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    """24 questions of different lengths about images of different sizes, every fifth one blind."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    found = []
    for number in range(24):
        name = f"{number}.png"
        height, width = 60 + 30 * (number % 4), 60 + 20 * (number % 7)
        Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(root / name)
        image = None if number % 5 == 4 else FileImage.inside(root, name)
        found.append(Request(f"Question {number}: " + "what is shown here? " * (1 + number % 6), image))
    return found
