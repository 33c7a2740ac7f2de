"""McNemar's test, Holm's adjustment and the smallest difference a test set can show.

>>> mcnemar([1, 1, 1, 0, 1], [1, 0, 0, 0, 0])
McNemar(gained=3, lost=0, p_value=0.25, exact=True)
>>> [round(p, 6) for p in holm([0.01, 0.04, 0.03])]
[0.03, 0.06, 0.06]

McNemar takes samples as independent: where images carry several questions, read it beside the image-cluster interval.
The vectorised test gives statsmodels' numbers (checked in the tests); Holm is statsmodels'. Must not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

EXACT_BELOW = 25
"""McNemar's test is exact (binomial) when fewer answers than this are discordant."""


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's test on paired right/wrong answers: `gained` only the first is right, `lost` only the second."""

    gained: int
    lost: int
    p_value: float
    exact: bool


def mcnemar(a: ArrayLike, b: ArrayLike) -> McNemar:
    """McNemar's test of two 0/1 vectors on the same samples; exact below `EXACT_BELOW` discordant answers."""
    first, second = np.asarray(a) > 0.5, np.asarray(b) > 0.5
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    return McNemar(gained, lost, float(mcnemar_p([gained], [lost])[0]), gained + lost < EXACT_BELOW)


def mcnemar_p(gained: ArrayLike, lost: ArrayLike) -> NDArray[np.float64]:
    """Two-sided p-values of many tests at once, from the counts of discordant answers.

    Exact binomial below `EXACT_BELOW` discordant answers, else chi-square with continuity correction; 1 for none.
    """
    from scipy.special import bdtr, chdtrc

    g, x = np.asarray(gained, dtype=np.float64), np.asarray(lost, dtype=np.float64)
    total = g + x
    exact = np.minimum(1.0, 2 * bdtr(np.minimum(g, x), np.maximum(total, 1).astype(np.int64), 0.5))
    large = chdtrc(1, (np.abs(g - x) - 1) ** 2 / np.maximum(total, 1))
    return np.where(total == 0, 1.0, np.where(total < EXACT_BELOW, exact, large))


def normal_p(difference: float, standard_error: float) -> float:
    """Two-sided p of a difference from its standard error; 1 where nothing differs, 0 where nothing varies but it."""
    if standard_error < 1e-12:
        return 1.0 if abs(difference) < 1e-12 else 0.0
    return 2 * NormalDist().cdf(-abs(difference) / standard_error)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values over one family, in the order given (statsmodels)."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def detectable_difference(standard_error: float, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest true difference that a two-sided test at `level` finds with `power`.

    (z of the level + z of the power) x the standard error of the paired difference, which holds the clustering.
    """
    z = NormalDist().inv_cdf
    return (z(0.5 + level / 2) + z(power)) * standard_error
