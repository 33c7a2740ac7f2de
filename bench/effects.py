"""Paired differences between variants: by task, question type and subset, with flips, and transfer to other modalities.

    found = compare(align(variants), contract="letter", reference="base")
    found.effects[0].difference.low, found.transfers[0].mean.value

The unit of resampling is the image; all variants share the same resamples. p-values are McNemar's, Holm-adjusted over
one family: every pair on every whole task. Means over tasks, and breakdowns by question type and subset, are families
of their own.
Must not import torch, transformers or lm_eval.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.aggregate import OUT_OF_DOMAIN
from bench.pairing import Pairs
from bench.significance import EXACT_BELOW
from bench.stats import Draws, Floats, Interval, McNemar
from rewards.errors import UserError, suggest

_Block = tuple[str, list[tuple[int, int]], Draws, dict[int, int], int]
"""(task, pairs, draws, each variant's column, samples) of a whole task."""
MEAN = "mean of tasks"
MIN_BREAKDOWN = 20
"""Question types and subsets with fewer samples than this are not tested apart."""


@dataclass(frozen=True, slots=True)
class Effect:
    """`a` minus `b` on one part of the samples, in shares of 1.

    `n` samples, of which `n_paired` were answered by both. `test` is None where McNemar's test is not defined, over
    several seeds and for the mean over tasks (`task` is `MEAN`); `p` is then that of the difference divided by its
    resampled standard error. `flips` lists the answers behind a test.
    `detectable` is the smallest true difference found with 80 % power at the 5 % level.
    """

    a: int
    b: int
    suite: str
    task: str
    by: str
    level: str
    n: int
    n_paired: int
    accuracy_a: float | None
    accuracy_b: float | None
    difference: Interval | None
    test: McNemar | None
    detectable: float | None
    p: float | None = None
    p_holm: float | None = None

    @property
    def significant(self) -> bool:
        """Interval beside zero *and* Holm-adjusted p below 0.05."""
        beside = self.difference is not None and self.difference.excludes_zero
        return beside and self.p_holm is not None and self.p_holm < 0.05


@dataclass(frozen=True, slots=True)
class Transfer:
    """One variant against the named reference: every modality, then their plain mean (None when one is missing)."""

    variant: int
    reference: int
    suite: str
    modalities: dict[str, Interval]
    mean: Interval | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All effects of one family, the transfers, and what they rest on."""

    pairs: Pairs
    contract: str
    resamples: int
    seed: int
    effects: tuple[Effect, ...]
    transfers: tuple[Transfer, ...]


def compare(
    pairs: Pairs,
    *,
    contract: str = "letter",
    resamples: int = stats.RESAMPLES,
    seed: int = 0,
    reference: str | None = None,
    breakdowns: bool = True,
) -> Comparison:
    """Every pair of variants on every task (and breakdown), and transfer against `reference` when it is named."""
    table = pairs.correct[contract]
    names = [v.name for v in pairs.variants]
    if reference is not None and reference not in names:
        raise UserError(f"the reference {reference!r} is none of the variants compared ({', '.join(names)})"
                        f"{suggest(reference, names)}")
    whole: list[Effect] = []
    apart: list[Effect] = []
    against: dict[tuple[str, str], dict[int, tuple[Draws, int, int]]] = {}
    wholes: dict[str, list[_Block]] = {}
    fixed = None if reference is None else names.index(reference)
    for suite, task, by, level, rows in scopes(pairs, breakdowns):
        found: dict[tuple[int, int], Effect] = {}
        stream = (seed, _stream(suite, task, by, level))
        for members, drawn, columns, kept in _blocks(pairs, table, rows, resamples, stream, seed):
            place = [(columns[a], columns[b]) for a, b in members]
            measured = stats.intervals(drawn, place)
            tests = _tests(pairs, table, kept, members)
            if not by:
                wholes.setdefault(suite, []).append((task, members, drawn, columns, len(rows)))
            for (a, b), (i, j), interval, test in zip(members, place, measured, tests, strict=True):
                found[a, b] = _effect((a, b, suite, task, by, level, len(rows)), drawn, (i, j), interval, test)
                if not by and fixed in (a, b):
                    other, ours, theirs = (a, i, j) if b == fixed else (b, j, i)
                    against.setdefault((suite, task), {})[other] = (drawn, ours, theirs)
        for a, b in combinations(range(len(names)), 2):
            missing = Effect(a, b, suite, task, by, level, len(rows), 0, None, None, None, None, None)
            (apart if by else whole).append(found.get((a, b), missing))
    transfers = () if fixed is None else tuple(_transfers(against, len(names), fixed))
    means = sorted(_means(wholes), key=lambda e: (e.suite, e.a, e.b))
    effects = (*_adjusted(whole), *_adjusted(means), *_adjusted(apart))
    return Comparison(pairs, contract, resamples, seed, effects, transfers)


def flips(found: Comparison, effect: Effect) -> tuple[list[int], list[int]]:
    """Row numbers where only `a` is right, and where only `b` is; empty over several seeds."""
    table, owners = found.pairs.correct[found.contract], list(found.pairs.owners)
    if owners.count(effect.a) > 1 or owners.count(effect.b) > 1:
        return [], []
    difference = table[:, owners.index(effect.a)] - table[:, owners.index(effect.b)]
    here = [
        i for i, key in enumerate(found.pairs.keys)
        if (key.suite, key.task) == (effect.suite, effect.task)
        and (not effect.by or _level(found.pairs, effect.by, i) == effect.level)
    ]
    return [i for i in here if difference[i] > 0], [i for i in here if difference[i] < 0]


def scopes(pairs: Pairs, breakdowns: bool) -> Iterator[tuple[str, str, str, str, NDArray[np.int64]]]:
    """(suite, task, by, level, row numbers): whole tasks, then question types and subsets that are large enough."""
    cells: dict[tuple[str, str, str, str], list[int]] = {}
    for row, key in enumerate(pairs.keys):
        cells.setdefault((key.suite, key.task, "", ""), []).append(row)
        if breakdowns:
            for by, level in (("question_type", pairs.question_types[row]), ("subset", pairs.subsets[row])):
                if level:
                    cells.setdefault((key.suite, key.task, by, level), []).append(row)
    for place, rows in sorted(cells.items(), key=lambda item: (bool(item[0][2]), item[0])):
        whole = len(cells[*place[:2], "", ""])
        if not place[2] or MIN_BREAKDOWN <= len(rows) < whole:
            yield *place, np.asarray(rows, dtype=np.int64)


def _effect(
    place: tuple[int, int, str, str, str, str, int], drawn: Draws, columns: tuple[int, int], interval: Interval,
    test: McNemar | None,
) -> Effect:
    error = interval.error or 0.0
    value_a, value_b = (float(drawn.value[c]) for c in columns)
    p = test.p_value if test is not None else stats.normal_p(value_a - value_b, error)
    return Effect(*place, drawn.n, value_a, value_b, interval, test, stats.detectable_difference(error), p)


def _means(wholes: dict[str, list[_Block]]) -> Iterator[Effect]:
    """The plain mean over a suite's tasks for every pair, where there are several tasks."""
    for suite, blocks in sorted(wholes.items()):
        tasks = sorted({task for task, _, _, _, _ in blocks})
        if len(tasks) < 2:
            continue
        where: dict[tuple[int, int], list[int]] = {}
        for number, (_, members, _, _, _) in enumerate(blocks):
            for pair in members:
                where.setdefault(pair, []).append(number)
        batches: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for pair, found in where.items():
            if len(found) == len(tasks):
                batches.setdefault(tuple(found), []).append(pair)
        n = sum({task: size for task, _, _, _, size in blocks}.values())
        for numbers, members in sorted(batches.items()):
            # Columns stand in the order of the first block; the others are brought into it.
            order = sorted({v for pair in members for v in pair})
            parts = [(blocks[k][2], [blocks[k][3][v] for v in order]) for k in numbers]
            mean = stats.combine([
                Draws(d.value[c], d.draws[c], d.n, d.n_groups, tuple(d.seeds[x] for x in c)) for d, c in parts
            ])
            places = [(order.index(a), order.index(b)) for a, b in members]
            for (a, b), place, interval in zip(members, places, stats.intervals(mean, places), strict=True):
                yield _effect((a, b, suite, MEAN, "", "", n), mean, place, interval, None)


def _blocks(
    pairs: Pairs, table: Floats, rows: NDArray[np.int64], resamples: int, stream: tuple[int, int], seed: int
) -> Iterator[tuple[list[tuple[int, int]], Draws, dict[int, int], NDArray[np.int64]]]:
    """Pairs of variants that were answered on the same samples, their shared draws, each variant's column, the samples.

    Usually one block: every run answered everything. A pair with missing answers is compared on what both answered,
    so that one failing backend takes nothing from the others.
    """
    owners = np.asarray(pairs.owners)
    part = table[rows]
    answered = [~np.isnan(part[:, owners == v]).any(axis=1) for v in range(len(pairs.variants))]
    blocks: dict[bytes, list[tuple[int, int]]] = {}
    for a, b in combinations(range(len(answered)), 2):
        blocks.setdefault((answered[a] & answered[b]).tobytes(), []).append((a, b))
    for mask, members in blocks.items():
        kept = np.flatnonzero(np.frombuffer(mask, dtype=bool))
        if not len(kept):
            continue
        chosen = sorted({v for pair in members for v in pair})
        runs = [c for v in chosen for c in np.flatnonzero(owners == v)]
        drawn = stats.over_seeds(
            stats.resample(part[np.ix_(kept, runs)], [pairs.groups[r] for r in rows[kept]], resamples=resamples,
                           seed=stream),
            [chosen.index(int(owners[c])) for c in runs], seed=seed,
        )
        yield members, drawn, {v: i for i, v in enumerate(chosen)}, rows[kept]


def _tests(
    pairs: Pairs, table: Floats, rows: NDArray[np.int64], members: Sequence[tuple[int, int]]
) -> list[McNemar | None]:
    """McNemar's test of every pair at once; None where a side has several seeds."""
    owners = list(pairs.owners)
    single = {v: owners.index(v) for v in range(len(pairs.variants)) if owners.count(v) == 1}
    tested = [i for i, (a, b) in enumerate(members) if a in single and b in single]
    part = np.nan_to_num(table[rows])
    only = part.T @ (1 - part)
    gained = np.array([only[single[members[i][0]], single[members[i][1]]] for i in tested])
    lost = np.array([only[single[members[i][1]], single[members[i][0]]] for i in tested])
    found: list[McNemar | None] = [None] * len(members)
    for i, g, x, p in zip(tested, gained, lost, stats.mcnemar_p(gained, lost), strict=True):
        found[i] = McNemar(round(g), round(x), float(p), bool(g + x < EXACT_BELOW))
    return found


def _level(pairs: Pairs, by: str, row: int) -> str:
    return pairs.question_types[row] if by == "question_type" else pairs.subsets[row]


def _adjusted(effects: Sequence[Effect]) -> list[Effect]:
    tested = [i for i, e in enumerate(effects) if e.p is not None]
    adjusted = stats.holm([e.p for e in effects if e.p is not None])
    found = list(effects)
    for i, p in zip(tested, adjusted, strict=True):
        found[i] = replace(found[i], p_holm=p)
    return found


def _transfers(
    against: dict[tuple[str, str], dict[int, tuple[Draws, int, int]]], count: int, reference: int
) -> Iterator[Transfer]:
    for suite in sorted({suite for suite, _ in against}):
        for variant in (v for v in range(count) if v != reference):
            parts = {t: against[suite, t][variant] for t in OUT_OF_DOMAIN if variant in against.get((suite, t), {})}
            if not parts:
                continue
            missing = tuple(t for t in OUT_OF_DOMAIN if t not in parts)
            mean = None
            if not missing:
                # Two columns a task, in the same order everywhere, so that the strata can be averaged.
                mean = stats.combine([
                    Draws(d.value[[i, j]], d.draws[[i, j]], d.n, d.n_groups, (d.seeds[i], d.seeds[j]))
                    for d, i, j in parts.values()
                ]).interval(0, minus=1)
            modalities = {t: d.interval(i, minus=j) for t, (d, i, j) in parts.items()}
            yield Transfer(variant, reference, suite, modalities, mean, missing)


def _stream(*parts: str) -> int:
    return zlib.crc32("\0".join(parts).encode("utf-8", "replace"))
