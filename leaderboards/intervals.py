"""Accuracy intervals that results.csv does not hold: the mean over tasks, and everything over several training seeds.

    resampled([columns])["", "letter"].low

"" as a task is the plain mean over all tasks; the out-of-domain mean is added where its four tasks are there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench import stats
from bench.aggregate import OUT_OF_DOMAIN, OUT_OF_DOMAIN_TASK
from bench.pairing import Columns
from bench.stats import Draws, Interval
from rewards.types import CONTRACTS

RESAMPLES = 2_000
"""For a variant's own interval of a mean; differences between variants use the full number."""


def resampled(runs: Sequence[Columns]) -> dict[tuple[str, str], Interval]:
    """Intervals by (task, contract) of one variant, its runs being training seeds; none for a task without answers."""
    draws: dict[str, Draws] = {}
    tasks = sorted({k.task for k in runs[0].keys})
    for number, task in enumerate(tasks):
        tables, groups = [], []
        for run in runs:
            order = sorted((i for i, k in enumerate(run.keys) if k.task == task), key=lambda i: run.keys[i])
            tables.append(run.correct[order])
            groups = [run.groups[i] for i in order]
        kept = np.flatnonzero(~np.isnan(np.hstack(tables)).any(axis=1))
        if len(kept):
            columns = np.column_stack([t[kept, c] for c in range(len(CONTRACTS)) for t in tables])
            owners = [c for c in range(len(CONTRACTS)) for _ in tables]
            drawn = stats.resample(columns, [groups[i] for i in kept], resamples=RESAMPLES, seed=(0, number))
            draws[task] = stats.over_seeds(drawn, owners)
    found = {(task, c): d.interval(i) for task, d in draws.items() for i, c in enumerate(CONTRACTS)}
    for name, members in (("", tasks), (OUT_OF_DOMAIN_TASK, list(OUT_OF_DOMAIN))):
        if set(members) <= set(draws):
            mean = stats.combine([draws[t] for t in members])
            found |= {(name, c): mean.interval(i) for i, c in enumerate(CONTRACTS)}
    return found
