"""Several runs on the same samples, put side by side; refused, saying where, when they are not comparable.

    pairs = align([Variant("base", ("runs/base",)), Variant("r1", ("runs/r1-s0", "runs/r1-s1"))])
    pairs.correct["letter"].shape          # (samples, runs); NaN where a backend gave no answer

Two runs can be paired when they answered the same questions (text, options, key, image) under the same prompt, decoding
and answer parser. Must not import torch, transformers or lm_eval.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.runfolder import RunFolder
from bench.stats import Floats
from rewards.errors import UserError
from rewards.types import CONTRACTS

MUST_AGREE = ("group", "question", "options", "answer_index", "image_sha256", "prompt_sha256")


class Key(NamedTuple):
    """What names a sample across runs."""

    suite: str
    task: str
    id: str


@dataclass(frozen=True, slots=True)
class Variant:
    """A named model with one run folder, or one for each training seed."""

    name: str
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The same samples under several runs. Row `i` of every table is `keys[i]`; column `j` is run `j` of `owners`.

    `correct[contract]` is 1, 0 or NaN (no answer); `lines` is where each answer stands in its samples.jsonl.
    """

    variants: tuple[Variant, ...]
    owners: tuple[int, ...]
    keys: tuple[Key, ...]
    groups: tuple[str, ...]
    question_types: tuple[str, ...]
    subsets: tuple[str, ...]
    correct: Mapping[str, Floats]
    lines: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    groups: str
    question_type: str
    subset: str
    marks: tuple[bytes, ...]


def align(variants: Sequence[Variant], *, condition: str = "plain", tasks: Sequence[str] | None = None) -> Pairs:
    """Read every run once and check that the answers can be paired.

    `tasks` restricts the comparison. Raises `UserError` naming the first difference in settings or samples.
    """
    folders = [(v.name, owner, RunFolder(path)) for owner, v in enumerate(variants) for path in v.runs]
    if len(folders) < 2:
        raise UserError("one run was given; a comparison needs at least two")
    first = folders[0][2]
    for _, _, other in folders[1:]:
        check_settings(first, other)
    known: dict[Key, _Seen] = {}
    columns: list[dict[Key, tuple[int, tuple[float, ...]]]] = []
    for _, _, folder in folders:
        column: dict[Key, tuple[int, tuple[float, ...]]] = {}
        for line, row in enumerate(folder.samples(), 1):
            if str(row.get("condition") or "plain") != condition or (tasks and row["task"] not in tasks):
                continue
            key = Key(str(row["suite"]), str(row["task"]), str(row["id"]))
            if key in column:
                raise UserError(f"{folder.path}: the sample {key.id!r} of task {key.task!r} stands twice")
            kind, subset = str(row.get("question_type") or ""), str(row.get("subset") or "")
            seen = _Seen(str(row["group"]), kind, subset, _marks(row))
            if known.setdefault(key, seen).marks != seen.marks:
                field = next(f for f, a, b in zip(MUST_AGREE, known[key].marks, seen.marks, strict=True) if a != b)
                raise UserError(f"{first.path} and {folder.path} cannot be paired: {field!r} of sample {key.id!r} in "
                                f"task {key.task!r} differs; run both on the same data with the same prompt version")
            column[key] = line, _verdicts(row)
        columns.append(column)
    _require_same_samples(folders, columns, condition)
    keys = sorted(columns[0])
    return Pairs(
        tuple(variants),
        tuple(owner for _, owner, _ in folders),
        tuple(keys),
        tuple(known[k].groups for k in keys),
        tuple(known[k].question_type for k in keys),
        tuple(known[k].subset for k in keys),
        {c: np.array([[column[k][1][i] for column in columns] for k in keys]) for i, c in enumerate(CONTRACTS)},
        tuple(tuple(column[k][0] for column in columns) for k in keys),
    )


def check_settings(one: RunFolder, other: RunFolder) -> None:
    """Raises `UserError` naming every prompt, parser or decoding setting (but the seed) that differs."""
    found = [
        f"{name} is {_short(a)} and {_short(b)}"
        for name, a, b in _differences(settings(one.manifest), settings(other.manifest), "")
    ]
    if found:
        raise UserError(f"{one.path} and {other.path} cannot be paired: {'; '.join(found[:6])}; "
                        "score both with the same settings")


def settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a manifest that two runs must share to be paired: prompts, parser, decoding without its seed."""
    config = manifest.get("config") or {}
    decoding = {k: v for k, v in (config.get("decoding") or {}).items() if k != "seed"}
    return {"prompts": manifest.get("prompts") or {}, "parser": manifest.get("parser") or {}, "decoding": decoding}


def variants_of(arguments: Iterable[str]) -> list[Variant]:
    """`RUN` or `NAME=RUN[,RUN...]` arguments as variants with distinct names. Raises `UserError`."""
    found: list[Variant] = []
    for argument in arguments:
        name, equals, paths = argument.partition("=")
        if equals and not Path(argument).is_dir():
            runs = tuple(p for p in paths.split(",") if p)
            if not name or not runs:
                raise UserError(f"{argument!r} is no variant; expected RUN or NAME=RUN[,RUN...]")
        else:
            name, runs = Path(argument).resolve().name, (argument,)
        found.append(Variant(name, runs))
    names = [v.name for v in found]
    double = next((n for n in names if names.count(n) > 1), None)
    if double is not None:
        raise UserError(f"two variants are called {double!r}; name them apart as NAME=RUN")
    return found


def _require_same_samples(
    folders: list[tuple[str, int, RunFolder]], columns: list[dict[Key, tuple[int, tuple[float, ...]]]], condition: str
) -> None:
    for (_, _, folder), column in zip(folders, columns, strict=True):
        if not column:
            raise UserError(f"{folder.path} has no answer in condition {condition!r} for the tasks asked for")
        for missing, has, lacks in (
            (columns[0].keys() - column.keys(), folders[0][2], folder),
            (column.keys() - columns[0].keys(), folder, folders[0][2]),
        ):
            if missing:
                key = min(missing)
                tasks = sorted({k.task for k in missing})
                common = sorted({k.task for k in columns[0]} & {k.task for k in column} - set(tasks))
                hint = f"use --tasks {','.join(common)}" if common else "score both on the same samples"
                raise UserError(f"{has.path} and {lacks.path} cannot be paired: {len(missing)} samples of "
                                f"{', '.join(tasks)} (first {key.id!r}) are only in {has.path}; {hint}")


def _verdicts(row: Mapping[str, Any]) -> tuple[float, ...]:
    if row["finish_reason"] == "error":
        return (float("nan"),) * len(CONTRACTS)
    return tuple(float(row["correct"][c]) for c in CONTRACTS)


def _marks(row: Mapping[str, Any]) -> tuple[bytes, ...]:
    # Digests rather than texts: 20 runs of 8,518 samples stay small.
    return tuple(hashlib.blake2b(json.dumps(row.get(f)).encode(), digest_size=8).digest() for f in MUST_AGREE)


def _differences(one: Any, other: Any, where: str) -> Iterable[tuple[str, Any, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}):
            yield from _differences(one.get(key), other.get(key), f"{where}.{key}" if where else str(key))
    elif one != other:
        yield where, one, other


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 50 else text[:47] + "..."
