"""Stage three: stored answers (and their reward scores) become results.csv, every number with its interval.

    write_results("runs/base/samples.jsonl", "runs/base/results.csv", model="base", scores_path=None)

What counts how: an answer that no contract can read, or that was cut off, is *wrong* (0): the model was asked and did
not deliver. A row with finish_reason "error" is *missing*: nobody answered, so it is left out of `n_scored`, stays in
`n`, has its own `error_rate`, and raises a warning. A reward part that could not be scored is missing likewise.

Rows do not depend on the order of the input lines or on which other tasks stand beside them. Must not import torch,
transformers or lm_eval.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import stats
from bench.runfolder import read_jsonl, write_csv
from rewards.errors import UserError
from rewards.types import CONTRACTS

COLUMNS = (
    "model", "suite", "task", "condition", "contract", "metric", "n", "n_scored", "value", "ci_low", "ci_high",
    "ci_method", "by", "level", "fingerprint",
)
"""CONTRACT.md's columns, then: `by` ("", "question_type", "subset"), its `level`, the reward's `fingerprint`."""

OUT_OF_DOMAIN = ("ct", "derm", "fundus", "oct")
OUT_OF_DOMAIN_TASK = "out_of_domain"
NOTHING_SCORED = "none: nothing scored"
CAP_RATE_LIMIT = 0.02
CONTRACT_GAP_LIMIT = 0.02


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns of one samples.jsonl row that numbers are made of."""

    suite: str
    task: str
    id: str
    condition: str
    group: str
    question_type: str
    subset: str
    correct: tuple[float, ...]
    read: tuple[float, ...]
    capped: float
    well_formed: float
    tokens_out: float | None
    failed: bool

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Answer:
        """Read one row. Raises `UserError` where a field is missing."""
        try:
            failed = row["finish_reason"] == "error"
            letters = (row.get("parsed") or {}).get("letters") or {}
            correct = row.get("correct") or {}
            return cls(
                suite=str(row["suite"]),
                task=str(row["task"]),
                id=str(row["id"]),
                condition=str(row.get("condition") or "plain"),
                group=str(row["group"]),
                question_type=str(row.get("question_type") or ""),
                subset=str(row.get("subset") or ""),
                correct=() if failed else tuple(float(correct[c]) for c in CONTRACTS),
                read=() if failed else tuple(float(letters[c] is not None) for c in CONTRACTS),
                capped=float(row["finish_reason"] == "length"),
                well_formed=0.0 if failed else float(bool(row["parsed"]["well_formed"])),
                tokens_out=None if row.get("tokens_out") is None else float(row["tokens_out"]),
                failed=failed,
            )
        except KeyError as missing:
            raise UserError(f"the answer {row.get('id')!r} has no field {missing}; "
                            "expected a row of samples.jsonl") from None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes an answer one of a kind within a run."""
        return self.suite, self.task, self.condition, self.id


Parts = dict[tuple[str, str], float | None]
"""(fingerprint, part) -> value of one answer; None where it was tried and is missing."""


def aggregate(
    rows: Iterable[Mapping[str, Any]],
    *,
    model: str,
    scores: Iterable[Mapping[str, Any]] = (),
    resamples: int = stats.RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Result rows (dicts with `COLUMNS`) of one run: by task, then by question type and subset where there are several.

    `value` is None where nothing could be scored. Accuracy and rates come twice, with Wilson's interval (samples
    independent) and with the image-cluster bootstrap; means come with the latter. Raises `UserError` on an answer
    that stands twice.
    """
    answers = sorted((Answer.of(row) for row in rows), key=lambda a: a.key)
    for one, other in pairwise(answers):
        if one.key == other.key:
            raise UserError(f"the answer {one.id!r} of task {one.task!r} ({one.condition}) stands twice in the samples")
    parts = _parts_by_answer(scores)
    cells: dict[tuple[str, str, str, str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        place = (answer.suite, answer.task, answer.condition)
        cells[*place, "", ""].append(answer)
        if answer.question_type:
            cells[*place, "question_type", answer.question_type].append(answer)
        if answer.subset:
            cells[*place, "subset", answer.subset].append(answer)
    found: list[dict[str, Any]] = []
    whole: dict[tuple[str, str, str], stats.Draws] = {}
    for (suite, task, condition, by, level), members in sorted(cells.items()):
        shared = {"model": model, "suite": suite, "task": task, "condition": condition, "by": by, "level": level}
        stream = (seed, zlib.crc32("\0".join((suite, task, condition, by, level)).encode("utf-8", "replace")))
        rows_of_cell, draws = _cell(members, parts, resamples, stream)
        found += [{**dict.fromkeys(COLUMNS, ""), **shared, **row} for row in rows_of_cell]
        if draws is not None and not by:
            whole[suite, task, condition] = draws
    return found + _out_of_domain(whole, model, answers)


def write_results(
    samples_path: str | Path, out_csv: str | Path, *, model: str, scores_path: str | Path | None = None
) -> list[dict[str, Any]]:
    """Aggregate a run's files into results.csv; returns the rows written."""
    scores = read_jsonl(Path(scores_path)) if scores_path is not None and Path(scores_path).is_file() else iter(())
    rows = aggregate(read_jsonl(Path(samples_path)), model=model, scores=scores)
    write_csv(Path(out_csv), COLUMNS, rows)
    return rows


def warnings(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a reader must know before believing the numbers, a sentence each; empty when there is nothing to say."""
    said: list[str] = []
    accuracy: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row.get("by"):
            continue
        place = f"{row['suite']}/{row['task']} ({row['condition']})"
        value = None if row["value"] in (None, "") else float(row["value"])
        metric, n, scored = str(row["metric"]), int(row["n"]), int(row["n_scored"])
        if metric == "accuracy" and value is not None:
            accuracy[row["suite"], row["task"], row["condition"]][row["contract"]] = value
        if metric == "cap_rate" and value is not None and value > CAP_RATE_LIMIT:
            said.append(f"{place}: {value:.1%} of the answers were cut off at the token cap; raise --max-new-tokens")
        if metric == "error_rate" and value:
            said.append(f"{place}: {round(value * n)} of {n} rows have no answer (backend errors); "
                        "accuracy counts the others only")
        if metric.startswith("reward.") and metric != "reward.total" and scored < n:
            said.append(f"{place}: {metric} is missing for {n - scored} of {n} answers; "
                        "its mean counts the others only")
    for (suite, task, condition), values in accuracy.items():
        if task == OUT_OF_DOMAIN_TASK or condition != "plain" or len(values) < 2:  # controls change what is read
            continue
        low, high = min(values, key=lambda c: values[c]), max(values, key=lambda c: values[c])
        if values[high] - values[low] > CONTRACT_GAP_LIMIT:
            said.append(f"{suite}/{task} ({condition}): contracts disagree by {100 * (values[high] - values[low]):.1f} "
                        f"points ({low} {values[low]:.1%}, {high} {values[high]:.1%})")
    return list(dict.fromkeys(said))


def _parts_by_answer(scores: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], Parts]:
    found: dict[tuple[str, str, str], Parts] = defaultdict(dict)
    for row in scores:
        mark = str(row.get("fingerprint") or "")
        values = found[str(row["task"]), str(row.get("condition") or "plain"), str(row["id"])]
        values[mark, "total"] = row.get("total")
        for score in row.get("scores") or ():
            values[mark, str(score["part"])] = score.get("value")
    return found


def _cell(
    members: list[Answer], parts: Mapping[tuple[str, str, str], Parts], resamples: int, seed: tuple[int, int]
) -> tuple[list[dict[str, Any]], stats.Draws | None]:
    answered = [a for a in members if not a.failed]
    rows: list[dict[str, Any]] = []
    draws = None
    names = [("accuracy", c) for c in CONTRACTS] + [("parse_rate", c) for c in CONTRACTS]
    names += [("cap_rate", ""), ("format_rate", "")]
    if answered:
        table = [[*a.correct, *a.read, a.capped, a.well_formed] for a in answered]
        draws = stats.resample(table, [a.group for a in answered], resamples=resamples, seed=seed)
    for column, (metric, contract) in enumerate(names):
        row = {"metric": metric, "contract": contract, "n": len(members), "n_scored": len(answered)}
        if draws is None:
            rows.append({**row, "value": None, "ci_method": NOTHING_SCORED})
            continue
        value = float(draws.value[column])
        rows.append({**row, **_wilson_cells(value, len(answered))})
        rows.append({**row, **_cells(draws.interval(column))})
    n = len(members)
    rows.append({"metric": "error_rate", "n": n, "n_scored": n, **_wilson_cells(1 - len(answered) / n, n)})
    rows.append(_mean("tokens_mean", members, [None if a.failed else a.tokens_out for a in members], resamples, seed))
    keys: dict[tuple[str, str], None] = {}
    by_answer = [parts.get((a.task, a.condition, a.id)) for a in members]
    for values in by_answer:
        keys.update(dict.fromkeys(values or ()))
    for mark, part in sorted(keys):
        scored = [None if values is None else values.get((mark, part)) for values in by_answer]
        rows.append({**_mean(f"reward.{part}", members, scored, resamples, seed), "fingerprint": mark})
    return rows, draws


def _mean(
    metric: str, members: list[Answer], values: list[float | None], resamples: int, seed: tuple[int, int]
) -> dict[str, Any]:
    kept = [(float(v), a.group) for v, a in zip(values, members, strict=True) if v is not None]
    row: dict[str, Any] = {"metric": metric, "n": len(members), "n_scored": len(kept)}
    if not kept:
        return {**row, "value": None, "ci_method": NOTHING_SCORED}
    draws = stats.resample([v for v, _ in kept], [g for _, g in kept], resamples=resamples, seed=seed)
    return {**row, **_cells(draws.interval(0))}


def _out_of_domain(
    whole: Mapping[tuple[str, str, str], stats.Draws], model: str, answers: list[Answer]
) -> list[dict[str, Any]]:
    """The plain mean over ct, derm, fundus and oct, only where all four stand in one suite and condition."""
    rows = []
    for suite, condition in sorted({(s, c) for s, _, c in whole}):
        parts = [whole[suite, task, condition] for task in OUT_OF_DOMAIN if (suite, task, condition) in whole]
        if len(parts) < len(OUT_OF_DOMAIN):
            continue
        mean = stats.combine(parts)
        n = sum(a.suite == suite and a.condition == condition and a.task in OUT_OF_DOMAIN for a in answers)
        for column, contract in enumerate(CONTRACTS):
            row = {"model": model, "suite": suite, "task": OUT_OF_DOMAIN_TASK, "condition": condition, "n": n}
            row |= {"metric": "accuracy", "contract": contract, "n_scored": mean.n, **_cells(mean.interval(column))}
            rows.append({**dict.fromkeys(COLUMNS, ""), **row})
    return rows


def _wilson_cells(value: float, n: int) -> dict[str, Any]:
    low, high = stats.wilson(value * n, n)
    return {"value": value, "ci_low": low, "ci_high": high, "ci_method": stats.WILSON}


def _cells(found: stats.Interval) -> dict[str, Any]:
    return {"value": found.value, "ci_low": found.low, "ci_high": found.high, "ci_method": found.method}

