"""Intervals and paired tests on answers that share images, vectorised and seeded.

>>> right = [1, 1, 0, 1, 0, 1, 1, 0]
>>> image = ["a", "a", "b", "b", "c", "d", "e", "f"]
>>> found = cluster_bootstrap(right, image, resamples=2000)
>>> found.value, found.n, found.n_groups
(0.625, 8, 6)
>>> [round(x, 3) for x in wilson(5, 8)]
[0.306, 0.863]

Questions about one image stand or fall together, so the unit of resampling is the image (`groups`), not the
question. Inputs are plain numbers without NaN: the caller leaves missing values out and reports `n_scored / n`.
The code is checked against scipy and statsmodels in the tests. Wilson and the ends of an interval are in
`bench.interval`, McNemar, Holm and power in `bench.significance`; all can be had from here. Must not import torch,
transformers or lm_eval.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.interval import (
    BOOTSTRAP,
    CONSTANT,
    FLAT,
    HIERARCHICAL,
    TOO_FEW,
    WILSON,
    WILSON_GROUPS,
    Floats,
    Interval,
    interval_of,
    tail_share,
    wilson,
)
from bench.significance import McNemar, detectable_difference, holm, mcnemar, mcnemar_p, normal_p

__all__ = [
    "BOOTSTRAP", "CONSTANT", "HIERARCHICAL", "TOO_FEW", "WILSON", "WILSON_GROUPS", "Draws", "Floats", "Interval",
    "McNemar", "cluster_bootstrap", "codes", "combine", "detectable_difference", "hierarchical_bootstrap", "holm",
    "interval_of", "intervals", "mcnemar", "mcnemar_p", "normal_p", "over_seeds",
    "paired_cluster_bootstrap", "resample", "wilson",
]

RESAMPLES = 10_000
CHUNK_CELLS = 2_000_000
"""Resampling weights held at once: 16 MB whatever the number of samples and resamples."""

NARROW = 3
"""Up to this many columns are summed by picking, more by a matrix of weights; the draws are the same."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Resampled means of `k` columns over the *same* resamples, so that any difference of columns is paired.

    `value` has shape (k,), `draws` (k, resamples); `n_groups` is the smallest number of groups in any stratum and
    `seeds` how many training seeds each column averages (empty: one each).
    """

    value: Floats
    draws: Floats
    n: int
    n_groups: int
    seeds: tuple[int, ...] = ()

    def interval(self, column: int, minus: int | None = None, level: float = 0.95) -> Interval:
        """Interval of one column's mean, or of its paired difference to the column `minus`."""
        if minus is not None:
            return intervals(self, [(column, minus)], level)[0]
        draws = self.draws[column]
        return self._named(float(self.value[column]), draws, [column], level, None, float(np.std(draws)))

    def _named(
        self, value: float, draws: Floats, columns: list[int], level: float, ends: tuple[float, float] | None,
        error: float,
    ) -> Interval:
        counts = [self.seeds[c] for c in columns] if self.seeds else [1]
        paired = len(columns) > 1
        if ends is None:
            found = interval_of(value, draws, n=self.n, n_groups=self.units(columns), level=level, paired=paired)
        else:
            found = Interval(value, *ends, self.n, self.n_groups, BOOTSTRAP, level)
        method = found.method
        if max(counts) > 1 and method == BOOTSTRAP:
            method = HIERARCHICAL if min(counts) > 1 else f"{HIERARCHICAL}, one side a single seed"
        return Interval(found.value, found.low, found.high, self.n, self.n_groups, method, level, error)

    def units(self, columns: Sequence[int]) -> int:
        """The smallest number of resampled units, images or (where there are several) seeds; it widens the tails."""
        seeds = [self.seeds[c] for c in columns if self.seeds and self.seeds[c] > 1]
        return min([self.n_groups, *seeds])


def intervals(drawn: Draws, pairs: Sequence[tuple[int, int]], level: float = 0.95) -> list[Interval]:
    """Intervals of many paired differences of columns at once, the same numbers as one by one and many times faster."""
    step = max(1, CHUNK_CELLS // drawn.draws.shape[1])
    blocks = [pairs[start : start + step] for start in range(0, len(pairs), step)]

    def measure(block: Sequence[tuple[int, int]]) -> list[Interval]:
        differences = drawn.draws[[a for a, _ in block]] - drawn.draws[[b for _, b in block]]
        tails = [tail_share(level, units) if units > 1 else 0.5 for units in (drawn.units(p) for p in block)]
        errors = np.std(differences, axis=1)
        varied = np.ptp(differences, axis=1) >= FLAT
        ends = np.empty((len(block), 2))
        for tail in sorted(set(tails)):
            chosen = [i for i, t in enumerate(tails) if t == tail]
            ends[chosen] = _quantiles(differences[chosen], (tail, 1 - tail))
        found = []
        for i, (a, b) in enumerate(block):
            usual = varied[i] and drawn.n_groups > 1
            limits = (float(ends[i, 0]), float(ends[i, 1])) if usual else None
            value, error = float(drawn.value[a] - drawn.value[b]), float(errors[i])
            found.append(drawn._named(value, differences[i], [a, b], level, limits, error))
        return found

    if len(blocks) < 2:
        return [interval for block in blocks for interval in measure(block)]
    # numpy gives up the interpreter lock while it sorts, so two threads are nearly twice as fast.
    with ThreadPoolExecutor(max_workers=2) as pool:
        return [interval for part in pool.map(measure, blocks) for interval in part]


def _quantiles(rows: Floats, shares: tuple[float, float]) -> Floats:
    """Linear-interpolation quantiles of every row by partial sorting; `rows` is reordered."""
    places = np.asarray(shares) * (rows.shape[1] - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, rows.shape[1] - 1)
    rows = np.partition(rows, sorted({*below.tolist(), *above.tolist()}), axis=1)
    return rows[:, below] + (rows[:, above] - rows[:, below]) * (places - below)


def codes(groups: Sequence[Hashable]) -> tuple[NDArray[np.int64], int]:
    """Group labels as integers in order of first appearance, and how many there are."""
    seen: dict[Hashable, int] = {}
    return np.fromiter((seen.setdefault(g, len(seen)) for g in groups), dtype=np.int64, count=len(groups)), len(seen)


def resample(
    values: ArrayLike, groups: Sequence[Hashable], *, resamples: int = RESAMPLES, seed: int | Sequence[int] = 0
) -> Draws:
    """Means of every column of `values` (n, k) over resamples of whole groups; one set of resamples for all columns.

    A resample draws as many groups as there are, with replacement; its mean is the sum over the drawn groups
    divided by the number of their samples (a ratio, since groups differ in size). Memory stays bounded by
    `CHUNK_CELLS` and the (k, resamples) result. Same seed, same result.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if len(table) != len(groups) or not len(table):
        raise ValueError(f"{len(table)} values for {len(groups)} group labels; expected the same number, at least one")
    if np.isnan(table).any():
        raise ValueError("NaN among the values; leave missing values out before resampling")
    code, n_groups = codes(groups)
    width = table.shape[1]
    sums = np.empty((n_groups, width + 1))
    for column in range(width):
        sums[:, column] = np.bincount(code, weights=table[:, column], minlength=n_groups)
    sums[:, width] = np.bincount(code, minlength=n_groups)
    totals = np.empty((resamples, width + 1))
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK_CELLS // n_groups)
    for start in range(0, resamples, rows):
        stop = min(resamples, start + rows)
        totals[start:stop] = _totals(rng, stop - start, sums)
    draws = np.ascontiguousarray((totals[:, :width] / totals[:, width:]).T)
    return Draws(table.mean(axis=0), draws, len(table), n_groups)


def combine(parts: Sequence[Draws]) -> Draws:
    """The plain mean over strata (tasks), each resampled on its own: the out-of-domain mean and the transfer figure."""
    value = np.mean([p.value for p in parts], axis=0)
    draws = np.mean([p.draws for p in parts], axis=0)
    return Draws(value, draws, sum(p.n for p in parts), min(p.n_groups for p in parts), parts[0].seeds)


def cluster_bootstrap(
    values: ArrayLike,
    groups: Sequence[Hashable],
    *,
    resamples: int = RESAMPLES,
    seed: int | Sequence[int] = 0,
    level: float = 0.95,
) -> Interval:
    """Mean of `values` (n,) with an interval from resampling whole groups."""
    return resample(values, groups, resamples=resamples, seed=seed).interval(0, level=level)


def paired_cluster_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    groups: Sequence[Hashable],
    *,
    resamples: int = RESAMPLES,
    seed: int | Sequence[int] = 0,
    level: float = 0.95,
) -> Interval:
    """Mean of `a - b` on the same samples, with an interval from resampling whole groups."""
    table = np.column_stack([np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)])
    return resample(table, groups, resamples=resamples, seed=seed).interval(0, minus=1, level=level)


def hierarchical_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    groups: Sequence[Hashable],
    *,
    resamples: int = RESAMPLES,
    seed: int | Sequence[int] = 0,
    level: float = 0.95,
) -> Interval:
    """Difference of two variants trained several times: seeds *and* images are resampled.

    `a` has shape (seeds of a, n) and `b` (seeds of b, n), columns being the same samples. Seeds are drawn apart
    for each side, images once for both (they are crossed). With one seed a side, seed variation cannot be seen and
    the interval is the image-cluster one.
    """
    left, right = np.atleast_2d(np.asarray(a, dtype=np.float64)), np.atleast_2d(np.asarray(b, dtype=np.float64))
    drawn = resample(np.vstack([left, right]).T, groups, resamples=resamples, seed=seed)
    owners = [0] * len(left) + [1] * len(right)
    return over_seeds(drawn, owners, seed=seed).interval(0, minus=1, level=level)


def over_seeds(drawn: Draws, owners: Sequence[int], *, seed: int | Sequence[int] = 0) -> Draws:
    """Columns that are runs become columns that are variants: every variant's seeds are resampled too.

    `owners` names each run's variant, 0 to the number of variants - 1. The seeds drawn depend on `seed` and the
    variant only, so strata resampled apart (tasks) share them and can be combined afterwards.
    """
    resamples = drawn.draws.shape[1]
    counts = np.bincount(np.asarray(owners))
    value, draws = np.empty(len(counts)), np.empty((len(counts), resamples))
    for variant, count in enumerate(counts):
        members = [i for i, owner in enumerate(owners) if owner == variant]
        value[variant] = drawn.value[members].mean()
        if count == 1:
            draws[variant] = drawn.draws[members[0]]
            continue
        rng = np.random.default_rng([7, variant, *np.atleast_1d(seed)])
        draws[variant] = np.einsum("rs,sr->r", _weights(rng, resamples, int(count)), drawn.draws[members]) / count
    return Draws(value, draws, drawn.n, drawn.n_groups, tuple(int(c) for c in counts))


def _totals(rng: np.random.Generator, rows: int, sums: Floats) -> Floats:
    """Sums over the groups drawn in each of `rows` resamples, shape (rows, columns of sums)."""
    if sums.shape[1] > NARROW:
        return _weights(rng, rows, len(sums)) @ sums
    # The same draws; for few columns picking is faster than counting and multiplying.
    picks = rng.integers(0, len(sums), size=(rows, len(sums)), dtype=np.int64)
    return np.column_stack([np.take(np.ascontiguousarray(c), picks, mode="clip").sum(axis=1) for c in sums.T])


def _weights(rng: np.random.Generator, rows: int, n: int) -> Floats:
    """How often each of `n` units is drawn in each of `rows` resamples of `n` draws, shape (rows, n)."""
    picks = rng.integers(0, n, size=(rows, n), dtype=np.int64)
    picks += (np.arange(rows, dtype=np.int64) * n)[:, None]
    return np.bincount(picks.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
