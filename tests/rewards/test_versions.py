"""A change that can move a number bumps a version: sources are compared with the hashes they had at their version.

When this fails: bump the version named here if a letter or a value can change, then write the new hash beside it.
"""

import doctest
import hashlib
import importlib
import pkgutil
from pathlib import Path

import pytest

import rewards
from rewards import parse, registry, reward

ROOT = Path(rewards.__file__).parent


def digest(*files):
    content = b"".join((ROOT / file).read_bytes().replace(b"\r\n", b"\n") for file in files)
    return hashlib.sha256(content).hexdigest()[:16]


PINNED = {
    "parser": ("1", "67e2e89dd5df5d6e", ("parse.py", "readings.py", "omnimed.py"), lambda: parse.VERSION),
    "composition": ("1", "426941a547bb3286", ("composite.py",), lambda: reward.VERSION),
}
PARTS = {
    "__init__": ([], "1cba2d2cf69ba18e"),
    "accuracy": (["accuracy@1"], "524502564f6b7ca0"),
    "entities": (["entities@1"], "6b3d376bda66de9d"),
    "format": (["format@1"], "b07a1cae3a16f347"),
    "lone_letter": (["lone_letter@1"], "8797c4ac3a8b9f0f"),
    "overlong": (["overlong@1"], "ca093055318049ce"),
    "process": (["integrity@1", "knowledge@1"], "7c45ba016358ad9a"),
    "quality": (["clarity@1", "conciseness@1", "k_acc@1", "professionalism@1", "r_acc@1", "rigor@1"],
                "4355a15457129d5f"),
    "repetition": (["repetition@1"], "9309c1dd9e6642a3"),
}


@pytest.mark.parametrize("name", PINNED)
def test_sources_and_versions_move_together(name):
    version, expected, files, current = PINNED[name]
    assert (current(), digest(*files)) == (version, expected)


@pytest.mark.parametrize("path", sorted((ROOT / "parts").glob("*.py")), ids=lambda path: path.stem)
def test_parts_and_versions_move_together(path):
    versions = sorted({f"{made.name}@{made.version}" for made in map(registry.find, registry.names())
                       if made.__module__ == f"rewards.parts.{path.stem}"})
    assert PARTS[path.stem] == (versions, digest(f"parts/{path.name}"))


@pytest.mark.parametrize("name", sorted(m.name for m in pkgutil.iter_modules([str(ROOT)]) if not m.ispkg))
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"rewards.{name}")
    assert module.__doc__ and doctest.testmod(module).failed == 0
