"""What a wheel holds: every file of the rooms, and nothing of tests/ or benchmarks/."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
ROOMS = ("bench", "rewards", "trainers", "tasks", "leaderboards")


def test_data_files_of_every_room_are_shipped():
    for room in ROOMS:
        shipped = {path for pattern in SETUPTOOLS["package-data"][room] for path in (ROOT / room).glob(pattern)}
        left_out = [path for path in (ROOT / room).rglob("*") if path.is_file() and path not in shipped
                    and ROOT / "leaderboards" / "published" not in path.parents  # results, not code
                    and path.suffix not in (".py", ".pyc") and not path.name.startswith(".")]
        assert left_out == []


def test_packages_are_the_rooms_and_no_others():
    include = SETUPTOOLS["packages"]["find"]["include"]
    folders = [path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))]
    assert {name for name in folders if any(fnmatchcase(name, pattern) for pattern in include)} == set(ROOMS)
