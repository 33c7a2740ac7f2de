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
McNemar and Holm come from statsmodels; the vectorised code here is checked against scipy in the tests.
Must not import torch, transformers or lm_eval; statsmodels only where it is used (slow to import).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RESAMPLES = 10_000
CHUNK_CELLS = 2_000_000
"""Resampling weights held at once: 16 MB whatever the number of samples and resamples."""
EXACT_BELOW = 25
"""McNemar's test is exact (binomial) when fewer pairs than this are discordant."""

BOOTSTRAP = "image-cluster bootstrap"
HIERARCHICAL = "hierarchical bootstrap (seed, image)"
WILSON = "wilson"
WILSON_GROUPS = "wilson over images (no variation)"
TOO_FEW = "none: one image"
CONSTANT = "none: no variation"


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval. `low` and `high` are None where `method` says that there is none to give."""

    value: float
    low: float | None
    high: float | None
    n: int
    n_groups: int
    method: str
    level: float = 0.95

    @property
    def excludes_zero(self) -> bool:
        """True only for an interval that exists and lies wholly on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


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
        value = float(self.value[column])
        draws = self.draws[column]
        if minus is not None:
            value -= float(self.value[minus])
            draws = draws - self.draws[minus]
        columns = [column] if minus is None else [column, minus]
        counts = [self.seeds[c] for c in columns] if self.seeds else [1]
        # Few seeds are few units too: the tails widen with the smallest number of them.
        units = min([self.n_groups, *(c for c in counts if c > 1)])
        found = interval_of(value, draws, n=self.n, n_groups=units, level=level, paired=minus is not None)
        method = found.method
        if max(counts) > 1 and method == BOOTSTRAP:
            method = HIERARCHICAL if min(counts) > 1 else f"{HIERARCHICAL}, one side a single seed"
        return Interval(found.value, found.low, found.high, self.n, self.n_groups, method, level)


def wilson(k: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for `k` of `n`, in [0, 1]; the whole range when `n` is 0 (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    z = _z(0.5 + level / 2)
    share = k / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if k == 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if k == n else min(1.0, (centre + half) / scale)
    return low, high


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
        totals[start:stop] = _weights(rng, stop - start, n_groups) @ sums
    draws = np.ascontiguousarray((totals[:, :width] / totals[:, width:]).T)
    return Draws(table.mean(axis=0), draws, len(table), n_groups)


def combine(parts: Sequence[Draws]) -> Draws:
    """The plain mean over strata (tasks), each resampled on its own: the out-of-domain mean and the transfer figure."""
    value = np.mean([p.value for p in parts], axis=0)
    draws = np.mean([p.draws for p in parts], axis=0)
    return Draws(value, draws, sum(p.n for p in parts), min(p.n_groups for p in parts), parts[0].seeds)


def interval_of(
    value: float, draws: Floats, *, n: int, n_groups: int, level: float = 0.95, paired: bool = False
) -> Interval:
    """Percentile interval of resampled values, widened for few groups (Hesterberg 2015, "expanded percentile").

    Where every resample says the same, the bootstrap has nothing to say: a share of 0 or 1 (or a paired difference
    of -1, 0 or 1) then gets Wilson's interval over groups and its own method name; other values get none.
    """
    if n_groups < 2:
        return Interval(value, None, None, n, n_groups, TOO_FEW, level)
    if float(np.ptp(draws)) < 1e-12:
        return _constant(value, n, n_groups, level, paired)
    tail = _tail(level, n_groups)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(value, float(low), float(high), n, n_groups, BOOTSTRAP, level)


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


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's test on paired right/wrong answers: `gained` only the first is right, `lost` only the second."""

    gained: int
    lost: int
    p_value: float
    exact: bool


def mcnemar(a: ArrayLike, b: ArrayLike) -> McNemar:
    """McNemar's test of two 0/1 vectors on the same samples (statsmodels); exact below `EXACT_BELOW` discordant pairs.

    It takes samples as independent: where images carry several questions, read it together with the interval.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    first, second = np.asarray(a) > 0.5, np.asarray(b) > 0.5
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    if gained + lost == 0:
        return McNemar(0, 0, 1.0, True)
    exact = gained + lost < EXACT_BELOW
    found: Any = test([[0, gained], [lost, 0]], exact=exact, correction=True)
    return McNemar(gained, lost, min(1.0, float(found.pvalue)), exact)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values over one family, in the order given (statsmodels)."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def detectable_difference(draws: Floats, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest true difference that a test at `level` finds with `power`, from the spread of paired resamples.

    (z of the level + z of the power) x standard error; the standard error holds the clustering by image.
    """
    return (_z(0.5 + level / 2) + _z(power)) * float(np.std(draws, ddof=1))


def _weights(rng: np.random.Generator, rows: int, n: int) -> Floats:
    """How often each of `n` units is drawn in each of `rows` resamples of `n` draws, shape (rows, n)."""
    picks = rng.integers(0, n, size=(rows, n), dtype=np.int64)
    picks += (np.arange(rows, dtype=np.int64) * n)[:, None]
    return np.bincount(picks.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def _constant(value: float, n: int, n_groups: int, level: float, paired: bool) -> Interval:
    nearest = round(value)
    if abs(value - nearest) > 1e-9 or nearest not in ((-1, 0, 1) if paired else (0, 1)):
        return Interval(value, None, None, n, n_groups, CONSTANT, level)
    low, high = wilson(abs(nearest) * n_groups, n_groups, level)
    if paired and nearest == 0:
        low = -high
    elif nearest == -1:
        low, high = -high, -low
    return Interval(value, low, high, n, n_groups, WILSON_GROUPS, level)


@cache
def _z(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


@cache
def _tail(level: float, n_groups: int) -> float:
    """Tail share of the expanded percentile interval: the t quantile and n/(n-1) put back what resampling loses."""
    from scipy.special import ndtr, stdtrit

    quantile = float(stdtrit(n_groups - 1, (1 - level) / 2))
    return float(ndtr(math.sqrt(n_groups / (n_groups - 1)) * quantile))
