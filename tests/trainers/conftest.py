"""Lets the tests of this folder import `training_cases`, and gives them its recipe as a file."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A recipe of two small stages, see `training_cases.RECIPE`."""
    from training_cases import RECIPE

    path = tmp_path / "small.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path
