"""What happened over the steps: the series that people look at, as numbers for the leaderboard's page and as a PNG.

    series = chosen(trainer.state.log_history)      # {"reward": [(1, 1.25), ...], "entropy": ...}
    plot(log_history, Path("curves.png"), title="beta, seed 1")

Must not import torch or trl.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TITLES: Mapping[str, str] = {
    "reward": "reward (total, mean)", "reward_std": "reward, std of a batch",
    "accuracy/letter": "accuracy (letter contract)", "reward/missing": "share without a reward",
    "reward/flagged": "share flagged for injection", "frac_reward_zero_std": "share of groups without variance",
    "completions/clipped_ratio": "share cut off at the cap", "completions/mean_length": "tokens of a completion (mean)",
    "entropy": "entropy (nats a token)", "kl": "KL to the parent (nats a token)",
    "clip_ratio/region_mean": "share of clipped ratios", "loss": "loss", "grad_norm": "gradient norm",
    "learning_rate": "learning rate", "mean_token_accuracy": "token accuracy", "step_time": "seconds a step",
    "sampling/sampling_logp_difference/mean": "vLLM against trainer, |logp difference|",
}
"""Logged names that are shown, in this order; parts of a reward ("reward/integrity") follow the first."""


def chosen(log: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Series by title: (step, value), finite values only. Series without a value are left out."""
    found: dict[str, list[tuple[int, float]]] = {}
    names = list(TITLES)
    parts = sorted({key for entry in log for key in entry if key.startswith("reward/") and key not in TITLES
                    and not key.endswith("/missing")})
    for name in [*names[:1], *parts, *names[1:]]:
        points = [(int(entry["step"]), float(entry[name])) for entry in log
                  if isinstance(entry.get(name), int | float) and math.isfinite(entry[name])]
        if points:
            found[TITLES.get(name, f"part {name.removeprefix('reward/')} (mean)")] = points
    return found


def thinned(points: Sequence[tuple[int, float]], most: int = 120) -> list[tuple[int, float]]:
    """Means of neighbouring points, at most `most` of them: a page needs no more."""
    if len(points) <= most:
        return [(step, round(value, 6)) for step, value in points]
    size = -(-len(points) // most)
    pieces = [points[i:i + size] for i in range(0, len(points), size)]
    return [(piece[-1][0], round(sum(value for _, value in piece) / len(piece), 6)) for piece in pieces]


def plot(log: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """All series as small panels in one PNG; nothing where nothing was logged."""
    from matplotlib.figure import Figure

    series = chosen(log)
    if not series:
        return
    columns = min(4, len(series))
    lines = -(-len(series) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.3 * lines + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for number, (name, points) in enumerate(series.items()):
        axes = figure.add_subplot(lines, columns, number + 1)
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, linewidth=0.7, color="#9db8cf")
        smooth = thinned(points, 25)
        axes.plot(*zip(*smooth, strict=True), linewidth=1.6, color="#1f5f8b")
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if min(values) >= 0:
            axes.set_ylim(bottom=0)
    figure.savefig(path, dpi=110)
