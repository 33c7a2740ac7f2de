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
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

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
class Columns:
    """One run's answers in one condition as columns; small enough to hold hundreds of runs.

    `marks` digests the `MUST_AGREE` fields of each row, `correct` has shape (rows, contracts) with NaN for no answer.
    """

    path: Path
    keys: list[Key]
    lines: list[int]
    groups: list[str]
    question_types: list[str]
    subsets: list[str]
    marks: list[bytes]
    correct: Floats


def read_columns(
    folder: RunFolder, *, condition: str = "plain", tasks: Sequence[str] | None = None,
    rows: Iterable[dict[str, Any]] | None = None,
) -> Columns:
    """Read a run's answers (or `rows`, where someone else reads along). Raises `UserError` for a sample twice."""
    found = Columns(folder.path, [], [], [], [], [], [], np.empty(0))
    correct: list[tuple[float, ...]] = []
    for line, row in enumerate(folder.samples() if rows is None else rows, 1):
        if str(row.get("condition") or "plain") != condition or (tasks and row["task"] not in tasks):
            continue
        found.keys.append(Key(str(row["suite"]), str(row["task"]), str(row["id"])))
        found.lines.append(line)
        found.groups.append(str(row["group"]))
        found.question_types.append(str(row.get("question_type") or ""))
        found.subsets.append(str(row.get("subset") or ""))
        text = "\x1f".join(map(str, map(row.get, MUST_AGREE)))
        found.marks.append(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        correct.append(_verdicts(row))
    if len(set(found.keys)) < len(found.keys):
        double = next(k for k in found.keys if found.keys.count(k) > 1)
        raise UserError(f"{folder.path}: the sample {double.id!r} of task {double.task!r} stands twice")
    if not correct:
        raise UserError(f"{folder.path} has no answer in condition {condition!r} for the tasks asked for")
    return replace(found, correct=np.array(correct))


def align(variants: Sequence[Variant], *, condition: str = "plain", tasks: Sequence[str] | None = None) -> Pairs:
    """Read every run once and check that the answers can be paired.

    `tasks` restricts the comparison. Raises `UserError` naming the first difference in settings or samples.
    """
    folders = [RunFolder(path) for v in variants for path in v.runs]
    if len(folders) < 2:
        raise UserError("one run was given; a comparison needs at least two")
    for other in folders[1:]:
        check_settings(folders[0], other)
    return join(variants, [read_columns(f, condition=condition, tasks=tasks) for f in folders])


def join(variants: Sequence[Variant], columns: Sequence[Columns]) -> Pairs:
    """Columns of runs (in the order of the variants' runs) side by side, sorted by sample. Raises `UserError`."""
    first = columns[0]
    order = sorted(range(len(first.keys)), key=lambda i: first.keys[i])
    keys = [first.keys[i] for i in order]
    aligned = [order]
    for other in columns[1:]:
        _require_same_samples(first, other)
        mine = order
        if other.keys != first.keys:
            place = {key: i for i, key in enumerate(other.keys)}
            mine = [place[key] for key in keys]
        aligned.append(mine)
        for i, j in zip(order, mine, strict=True):
            if first.marks[i] != other.marks[j]:
                _refuse(first, i, other, j)
    tables = [c.correct[o] for c, o in zip(columns, aligned, strict=True)]
    return Pairs(
        tuple(variants),
        tuple(owner for owner, v in enumerate(variants) for _ in v.runs),
        tuple(keys),
        tuple(first.groups[i] for i in order),
        tuple(first.question_types[i] for i in order),
        tuple(first.subsets[i] for i in order),
        {c: np.column_stack([t[:, i] for t in tables]) for i, c in enumerate(CONTRACTS)},
        tuple(zip(*([c.lines[i] for i in o] for c, o in zip(columns, aligned, strict=True)), strict=True)),
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


def _require_same_samples(one: Columns, other: Columns) -> None:
    if one.keys == other.keys:
        return
    for has, lacks in ((one, other), (other, one)):
        missing = set(has.keys) - set(lacks.keys)
        if missing:
            tasks = sorted({k.task for k in missing})
            common = sorted({k.task for k in one.keys} & {k.task for k in other.keys} - set(tasks))
            hint = f"use --tasks {','.join(common)}" if common else "score both on the same samples"
            raise UserError(f"{has.path} and {lacks.path} cannot be paired: {len(missing)} samples of "
                            f"{', '.join(tasks)} (first {min(missing).id!r}) are only in {has.path}; {hint}")


def _refuse(one: Columns, i: int, other: Columns, j: int) -> NoReturn:
    """Name the field that differs; the digests only say that one does."""
    rows = [next(islice(RunFolder(c.path).samples(), c.lines[n] - 1, None)) for c, n in ((one, i), (other, j))]
    field = next((f for f in MUST_AGREE if rows[0].get(f) != rows[1].get(f)), "a field")
    raise UserError(f"{one.path} and {other.path} cannot be paired: {field!r} of sample {one.keys[i].id!r} in task "
                    f"{one.keys[i].task!r} differs; run both on the same data with the same prompt version")


def _verdicts(row: Mapping[str, Any]) -> tuple[float, ...]:
    if row["finish_reason"] == "error":
        return (float("nan"),) * len(CONTRACTS)
    return tuple(float(row["correct"][c]) for c in CONTRACTS)


def _differences(one: Any, other: Any, where: str) -> Iterable[tuple[str, Any, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}):
            yield from _differences(one.get(key), other.get(key), f"{where}.{key}" if where else str(key))
    elif one != other:
        yield where, one, other


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 50 else text[:47] + "..."
