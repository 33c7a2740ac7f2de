"""An interval and what it rests on: Wilson's, or the percentiles of resampled values; with a name for every case.

>>> [round(x, 3) for x in wilson(5, 8)]
[0.306, 0.863]
>>> interval_of(1.0, np.ones(100), n=8, n_groups=4).method
'wilson over images (no variation)'

Where there is nothing to say (one image, no variation) the ends are None and `method` says why. Checked against scipy
and statsmodels in the tests. Must not import torch, transformers or lm_eval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLAT = 1e-12
"""Resamples that spread less than this say that nothing varies."""
BOOTSTRAP = "image-cluster bootstrap"
HIERARCHICAL = "hierarchical bootstrap (seed, image)"
WILSON = "wilson"
WILSON_GROUPS = "wilson over images (no variation)"
TOO_FEW = "none: one image"
CONSTANT = "none: no variation"


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval. `low` and `high` are None where `method` says that there is none to give.

    `error` is the resampled standard error, None where nothing was resampled.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    n_groups: int
    method: str
    level: float = 0.95
    error: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """True only for an interval that exists and lies wholly on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


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


def interval_of(
    value: float, draws: Floats, *, n: int, n_groups: int, level: float = 0.95, paired: bool = False
) -> Interval:
    """Percentile interval of resampled values, widened for few groups (Hesterberg 2015, "expanded percentile").

    Where every resample says the same, the bootstrap has nothing to say: a share of 0 or 1 (or a paired difference
    of -1, 0 or 1) then gets Wilson's interval over groups and its own method name; other values get none.
    """
    if n_groups < 2:
        return Interval(value, None, None, n, n_groups, TOO_FEW, level)
    if float(np.ptp(draws)) < FLAT:
        return _constant(value, n, n_groups, level, paired)
    tail = tail_share(level, n_groups)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(value, float(low), float(high), n, n_groups, BOOTSTRAP, level)


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
def tail_share(level: float, n_groups: int) -> float:
    """Tail share of the expanded percentile interval: the t quantile and n/(n-1) put back what resampling loses."""
    from scipy.special import ndtr, stdtrit

    quantile = float(stdtrit(n_groups - 1, (1 - level) / 2))
    return float(ndtr(math.sqrt(n_groups / (n_groups - 1)) * quantile))
