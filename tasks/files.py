"""Reading the data sets' JSON files, with errors that say which file, what is wrong and what to do.

>>> read_json(Path("data.json"), "PathMMU's data.json")                # doctest: +SKIP

A byte-order mark is tolerated. Standard library only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rewards.errors import UserError


def read_text(path: Path, what: str) -> str:
    """The file as text, a byte-order mark removed. Raises: UserError when missing, unreadable, no UTF-8, a pointer."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as problem:
        raise UserError(f"{what} is missing: looked for {path}") from problem
    except UnicodeDecodeError as problem:
        raise UserError(f"{what} is not UTF-8 text (byte {problem.start}): {path}; download it again") from problem
    except OSError as problem:
        raise UserError(f"cannot read {what}: {path}: {problem.strerror}") from problem
    if text.startswith("version https://git-lfs.github.com/spec/"):
        raise UserError(f"{what} is a Git LFS pointer, not the file: {path}; run `git lfs pull` in that folder")
    return text


def read_json(path: Path, what: str) -> Any:
    """The parsed file. Raises: UserError, with line and column when the JSON is broken."""
    try:
        return json.loads(read_text(path, what))
    except json.JSONDecodeError as problem:
        raise UserError(f"{what} is not valid JSON at line {problem.lineno} column {problem.colno} ({problem.msg}): "
                        f"{path}; download it again") from problem
    except ValueError as problem:  # a number of thousands of digits
        raise UserError(f"{what} cannot be read as JSON ({problem}): {path}; download it again") from problem
    except RecursionError as problem:
        raise UserError(f"{what} is nested too deeply to be a list of questions: {path}") from problem


def shown(value: object) -> str:
    """What a JSON value is, for a message: "a list", "an object", "text"."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
