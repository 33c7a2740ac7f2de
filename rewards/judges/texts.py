"""Prompts and rubrics: text files with a version line, read once and identified by their hash.

>>> read("prompts/events.md").version.split("-")[0]
'events'

The first line of a file is `version: NAME-N` (a comment line in TOML). A change of the text bumps the version: a test
compares hash with version. Line ends are normalised, so that a checkout on another system has the same hash.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

_VERSION = re.compile(r"\A(?:# )?version: (\S+)\n")


@dataclass(frozen=True, slots=True)
class VersionedText:
    """One file: name relative to `rewards/`, version, SHA-256 of the content, and the text below the header."""

    name: str
    version: str
    sha256: str
    body: str


@cache
def read(name: str) -> VersionedText:
    """Read `prompts/...` or `rubrics/...`. Raises `ValueError` when the version line is missing."""
    raw = resources.files("rewards").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")
    found = _VERSION.match(raw)
    if found is None:
        raise ValueError(f"rewards/{name} must begin with a line `version: NAME-N`")
    return VersionedText(name, found[1], hashlib.sha256(raw.encode()).hexdigest(), raw[found.end():].strip())


@cache
def rubric(name: str) -> dict[str, Any]:
    """The tables of a TOML rubric; shared, so read only."""
    return tomllib.loads(read(name).body)
