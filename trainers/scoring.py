"""Each variant scored as soon as it stands, in a process of its own, and the leaderboard made again.

    score(recipe, "beta", checkpoint, folder, training)       # FOLDER/run-main ... by `python -m bench.run`
    board(recipe, out, runs)                                   # OUT/leaderboard by `python -m leaderboards.build`

A process of its own sees what a user sees, frees its memory when it ends, and lets this room stay below the
leaderboards. Each run folder gets a `variant.json` (stage, parent, recipe, curves) for the leaderboard's page.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.manifest import write_json
from rewards.errors import UserError
from trainers.recipe import Recipe, Score
from trainers.world import alone


def score(recipe: Recipe, model: str, folder: Path, training: Mapping[str, Any]) -> None:
    """Every scoring of the recipe for one checkpoint; finished answers are kept. Raises UserError."""
    for name, table in recipe.score.items():
        out = folder / f"run-{name}"
        run(command(recipe, table, model, out), f"scoring {training['variant']}")
        write_json(out / "variant.json", dict(training))


def command(recipe: Recipe, table: Score, model: str, out: Path) -> list[str]:
    """`python -m bench.run ...` for one scoring."""
    found = ["bench.run", "--model", model, "--data", recipe.source_of(table), "--tasks", ",".join(table.tasks),
             "--out", str(out), "--max-new-tokens", str(table.max_new_tokens), "--batch-size", str(table.batch_size)]
    for flag, value in (("--split", table.split), ("--limit", table.limit), ("--reward", table.reward),
                        ("--max-usd", table.max_usd), ("--max-pixels", recipe.model.max_pixels),
                        ("--controls", ",".join(table.controls)), ("--judge", ",".join(table.judges))):
        if value not in (None, ""):
            found += [flag, str(value)]
    return [*found, "--quiet"]


def board(recipe: Recipe, out: Path, runs: Mapping[str, Sequence[Path]]) -> list[Path]:
    """A leaderboard for each scoring, variants in order, seeds of a variant in one row; returns their pages."""
    pages = []
    for name, table in recipe.score.items():
        folder = out / ("leaderboard" if len(recipe.score) == 1 else f"leaderboard-{name}")
        entries = {variant: [path / f"run-{name}" for path in paths] for variant, paths in runs.items()}
        named = [f"{variant}={','.join(map(str, paths))}" for variant, paths in entries.items() if paths]
        reference = ["--reference", table.reference] if table.reference in entries else []
        run(["leaderboards.build", *named, *reference, "--out", str(folder)], "the leaderboard")
        pages.append(folder / "index.html")
    return pages


def run(arguments: Sequence[str], what: str) -> None:
    """A command of this project. Raises UserError with its message, KeyboardInterrupt when it was interrupted."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], env=alone(), text=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    try:
        _, said = process.communicate()
    except BaseException:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    if process.returncode == 130:
        raise KeyboardInterrupt
    if process.returncode:
        last = [line for line in said.splitlines() if line.strip()][-1:] or ["no message"]
        raise UserError(f"{what} failed (exit {process.returncode}): {last[0].removeprefix('error: ')}")
