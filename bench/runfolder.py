"""A run's folder as other tools read it: manifest, answers, reward scores, results.

    run = RunFolder("runs/base")
    run.model, sum(1 for _ in run.samples())

Reads only; `bench.run` writes. Lines are streamed, so a long run costs no memory until its rows are kept.
Must not import torch, transformers or lm_eval.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.inert import csv_cell
from rewards.errors import UserError


class RunFolder:
    """The files of one run. Raises `UserError` where the folder is no run or a file cannot be read."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise UserError(f"{str(path)!r} is not a folder; expected a run folder as bench.run writes it")
        if not (self.path / "samples.jsonl").is_file():
            raise UserError(f"{str(path)!r} holds no samples.jsonl; expected a run folder written by bench.run")
        self.manifest: dict[str, Any] = read_json(self.path / "manifest.json")

    @property
    def model(self) -> str:
        """The model's reference as it was given to bench.run; the folder's name where the manifest has none."""
        model = self.manifest.get("model")
        reference = model.get("ref") if isinstance(model, dict) else model
        return str(reference or self.path.resolve().name)

    def samples(self) -> Iterator[dict[str, Any]]:
        """Rows of samples.jsonl, in file order."""
        return read_jsonl(self.path / "samples.jsonl")

    def scores(self) -> Iterator[dict[str, Any]]:
        """Rows of scores.jsonl; nothing where the run was not scored."""
        path = self.path / "scores.jsonl"
        return read_jsonl(path) if path.is_file() else iter(())

    def results(self) -> list[dict[str, str]]:
        """Rows of results.csv as text cells; empty where there is none."""
        path = self.path / "results.csv"
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object from a file. Raises `UserError` naming the file."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{str(path)!r} is missing; expected a run folder written by bench.run") from None
    except ValueError as problem:
        raise UserError(f"{str(path)!r} is not valid JSON: {problem}") from None
    if not isinstance(found, dict):
        raise UserError(f"{str(path)!r} holds a {type(found).__name__}; expected a JSON object")
    return found


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSON-lines file. Raises `UserError` naming file and line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as problem:
                raise UserError(f"{str(path)!r} line {number} is not valid JSON ({problem}); "
                                "an interrupted run is completed by running it again") from None
            if not isinstance(row, dict):
                raise UserError(f"{str(path)!r} line {number} holds a {type(row).__name__}; expected a JSON object")
            yield row


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table whose cells no spreadsheet executes; whole or not at all, the same bytes for the same rows."""
    names = list(columns)
    lines = [names, *([csv_cell(row.get(name)) for name in names] for row in rows)]
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    part.replace(path)
