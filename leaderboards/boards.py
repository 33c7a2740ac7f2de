"""Which runs may be ranked against each other, and their ranks: a rank is one more than the number that are better.

    boards = make_boards(entries)      # one for every set of data, prompts, decoding, parser and reward
    boards[0].rows[0].rank

Phantom and real suites, other data, other prompts or another reward are other boards. "Better" means: interval of the
paired difference beside zero and Holm-adjusted p below 0.05; so variants that cannot be told apart share a rank.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import stats
from bench.aggregate import warnings
from bench.effects import MEAN, Comparison, Effect, compare
from bench.inert import one_line
from bench.pairing import Columns, Variant, join, settings
from bench.stats import Interval
from leaderboards.intervals import resampled
from leaderboards.reading import RunData


@dataclass(frozen=True, slots=True)
class Entry:
    """A variant and the data of its runs (one for each training seed)."""

    variant: Variant
    runs: tuple[RunData, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One variant on a board. Accuracies are shares of 1 by task; "" as a task is the plain mean over tasks."""

    id: str
    entry: Entry
    rank: int
    better_than: tuple[str, ...]
    accuracy: dict[tuple[str, str], Interval]
    rates: dict[str, float | None]
    parts: dict[tuple[str, str], Interval]
    controls: dict[tuple[str, str], float]
    cost_usd: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """Comparable variants in the order of their ranks. `comparison` is None for a lone variant."""

    id: str
    suites: tuple[str, ...]
    tasks: tuple[str, ...]
    n: dict[str, int]
    key: dict[str, Any]
    rows: tuple[Row, ...]
    comparison: Comparison | None
    agreement: dict[tuple[str, str], tuple[float, int]]


def make_boards(
    entries: Sequence[Entry], *, reference: str | None = None, resamples: int = stats.RESAMPLES
) -> list[Board]:
    """Boards in a fixed order: by suite, then by what sets them apart."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(json.dumps(board_key(entry), sort_keys=True), []).append(entry)
    ordered = sorted(_by_reward(groups), key=lambda g: g[0])
    boards, number = [], 0
    for place, (key, members) in enumerate(ordered):
        boards.append(_board(f"b{place}", json.loads(key), members, number, reference, resamples))
        number += len(members)
    return boards


def board_key(entry: Entry) -> dict[str, Any]:
    """What two runs must share to stand on one board (the reward is seen to apart)."""
    run = entry.runs[0]
    data = run.manifest.get("data") or {}
    return {
        "data": sorted([str(d.get("suite")), task, str(d.get("data_sha256"))] for task, d in data.items()),
        "settings": settings(run.manifest),
        "tasks": sorted({(k.suite, k.task) for k in run.columns.keys}),
    }


def _by_reward(groups: Mapping[str, list[Entry]]) -> list[tuple[str, list[Entry]]]:
    """Split groups by reward fingerprints. Unscored runs join the scored ones unless there are several rewards."""
    found = []
    for key, members in groups.items():
        marks: dict[tuple[str, ...], list[Entry]] = {}
        for entry in members:
            marks.setdefault(tuple(sorted({fp for run in entry.runs for fp in run.judges})), []).append(entry)
        if len(marks) == 2 and () in marks:
            marks = {max(marks): members}
        for mark, own in marks.items():
            found.append((json.dumps({**json.loads(key), "rewards": list(mark)}, sort_keys=True), own))
    return found


def _board(
    name: str, key: dict[str, Any], members: list[Entry], first: int, reference: str | None, resamples: int
) -> Board:
    columns: list[Columns] = [run.columns for entry in members for run in entry.runs]
    comparison = None
    if len(columns) > 1 and len(members) > 1:
        names = [e.variant.name for e in members]
        comparison = compare(join([e.variant for e in members], columns), resamples=resamples, breakdowns=False,
                             reference=reference if reference in names else None)
    tasks = tuple(dict.fromkeys(k.task for k in sorted(columns[0].keys)))
    better: dict[int, list[int]] = {i: [] for i in range(len(members))}
    for effect in _ranking(comparison, tasks):
        if effect.significant and effect.difference is not None:
            ahead, behind = (effect.a, effect.b) if effect.difference.value > 0 else (effect.b, effect.a)
            better[ahead].append(behind)
    ranks = [1 + sum(i in losers for losers in better.values()) for i in range(len(members))]
    accuracies = [_accuracy(e) for e in members]
    order = sorted(range(len(members)), key=lambda i: (ranks[i], -_value(accuracies[i]), members[i].variant.name))
    rows = tuple(
        _row(f"v{first + place:03d}", members[i], ranks[i],
             tuple(members[j].variant.name for j in sorted(better[i], key=order.index)), accuracies[i])
        for place, i in enumerate(order)
    )
    counts: dict[str, int] = dict.fromkeys(tasks, 0)
    for k in columns[0].keys:
        counts[k.task] += 1
    return Board(name, tuple(sorted({k.suite for k in columns[0].keys})), tasks, counts, key, rows, comparison,
                 _agreement(members))


def _ranking(comparison: Comparison | None, tasks: Sequence[str]) -> list[Effect]:
    if comparison is None:
        return []
    decisive = MEAN if len(tasks) > 1 else tasks[0]
    return [e for e in comparison.effects if e.task == decisive and not e.by]


def _value(accuracy: Mapping[tuple[str, str], Interval]) -> float:
    found = accuracy.get(("", "letter"))
    return -1.0 if found is None else found.value


def _accuracy(entry: Entry) -> dict[tuple[str, str], Interval]:
    """Intervals by (task, contract), "" being the mean of tasks: results.csv's where they tell, else resampled."""
    if len(entry.runs) > 1:
        return resampled([run.columns for run in entry.runs])
    found: dict[tuple[str, str], Interval] = {}
    for row in entry.runs[0].results:
        if row["condition"] == "plain" and row["metric"] == "accuracy" and not row["by"] and row["value"]:
            place = (row["task"], row["contract"])
            if place not in found or (row["ci_method"] != stats.WILSON and row["ci_low"]):
                found[place] = _interval(row)
    return {**entry.runs[0].resampled, **found}


def _interval(row: Mapping[str, str]) -> Interval:
    low, high = (float(row[k]) if row[k] else None for k in ("ci_low", "ci_high"))
    return Interval(float(row["value"]), low, high, int(row["n_scored"]), 0, row["ci_method"])


def _row(
    name: str, entry: Entry, rank: int, better: tuple[str, ...], accuracy: dict[tuple[str, str], Interval]
) -> Row:
    run = entry.runs[0]
    plain = [r for one in entry.runs for r in one.results if r["condition"] == "plain" and not r["by"]]
    rates = {
        metric: _pooled([r for r in plain if r["metric"] == metric and r["contract"] in ("", "letter")])
        for metric in ("parse_rate", "cap_rate", "format_rate", "error_rate", "tokens_mean")
    }
    parts: dict[tuple[str, str], Interval] = {}
    for fingerprint, judge in sorted(run.judges.items(), key=lambda item: item[1]):
        for metric in dict.fromkeys(r["metric"] for r in plain if r["fingerprint"] == fingerprint):
            rows = [r for r in plain if r["metric"] == metric and r["fingerprint"] == fingerprint and r["value"]]
            if rows:
                n = sum(int(r["n_scored"]) for r in rows)
                total = sum(int(r["n"]) for r in plain if r["metric"] == metric and r["fingerprint"] == fingerprint)
                value = sum(float(r["value"]) * int(r["n_scored"]) for r in rows) / n
                only = _interval(rows[0]) if len(rows) == 1 else Interval(value, None, None, n, 0, "pooled over tasks")
                parts[judge, metric.removeprefix("reward.")] = Interval(
                    only.value, only.low, only.high, n, total, only.method)
    controls = {
        (r["condition"], r["task"]): float(r["value"]) for r in run.results
        if r["condition"] != "plain" and r["metric"] == "accuracy" and r["contract"] == "letter" and not r["by"]
        and r["value"]
    }
    said = [w for one in entry.runs for w in (*warnings(one.results), *map(str, one.manifest.get("warnings") or ()))]
    costs = [one.cost_usd for one in entry.runs]
    cost = None if None in costs else sum(c for c in costs if c is not None)
    return Row(name, entry, rank, better, accuracy, rates, parts, controls, cost,
               tuple(dict.fromkeys(one_line(w, 400) for w in said)))


def _pooled(rows: Sequence[Mapping[str, str]]) -> float | None:
    """Mean over the answers of all tasks; a double row (two intervals of one value) counts once."""
    seen = {(r["suite"], r["task"], r["value"], r["n_scored"]): r for r in rows if r["value"] and r["task"]}
    n = sum(int(r["n_scored"]) for r in seen.values())
    return sum(float(r["value"]) * int(r["n_scored"]) for r in seen.values()) / n if n else None


def _agreement(members: Sequence[Entry]) -> dict[tuple[str, str], tuple[float, int]]:
    """Spearman correlation of every two judges over the answers that both scored, pooled over variants."""
    labels = sorted({label for e in members for run in e.runs for label in run.judged})
    found: dict[tuple[str, str], tuple[float, int]] = {}
    for i, one in enumerate(labels):
        for other in labels[i + 1 :]:
            pieces = [(run.judged[one], run.judged[other]) for e in members for run in e.runs
                      if one in run.judged and other in run.judged]
            if not pieces:
                continue
            from scipy.stats import spearmanr

            a, b = (np.concatenate([p[k] for p in pieces]) for k in (0, 1))
            both = ~np.isnan(a) & ~np.isnan(b)
            if both.sum() >= 3 and np.ptp(a[both]) > 0 and np.ptp(b[both]) > 0:
                found[one, other] = (float(spearmanr(a[both], b[both]).statistic), int(both.sum()))
    return found
