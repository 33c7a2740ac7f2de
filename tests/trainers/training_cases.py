"""A small recipe on the model in the package, commands in processes of their own, and what they leave behind."""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
from pathlib import Path

RECIPE = """
name = "small"
base = "phantom-tiny"
source = "phantom"
seeds = [5]

[model]
freeze = ["model.visual"]

[data.sft]
split = "train"
limit = 60

[data.rl]
split = "rl"
limit = 40
target = "answer"

[sft]
batch_size = 8
max_steps = 12
learning_rate = 1e-4
save_steps = 4

[grpo]
batch_size = 8
num_generations = 4
max_steps = 6
max_completion_length = 96
learning_rate = 1e-5
beta = 0.04
save_steps = 2

[variants.alpha]
stage = "sft"
data = "sft"

[variants.beta]
parent = "alpha"
stage = "grpo"
data = "rl"
reward = "dual"
judge = "rules"
"""


def command(recipe: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "trainers.run", str(recipe), "--out", str(out), "--train-only", *more]


def trained(recipe: Path, out: Path, *more: str) -> Path:
    done = subprocess.run(command(recipe, out, *more), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out / "seed-5"


def weights(stage: Path) -> str:
    return hashlib.sha256((stage / "checkpoint" / "model.safetensors").read_bytes()).hexdigest()


def advantages(totals: list[float | None]) -> list[float]:
    """What GRPO gives a group: those without a reward stand aside, and get nothing."""
    present = [total for total in totals if total is not None]
    if len(present) < 2:
        return [0.0] * len(totals)
    mean, spread = statistics.mean(present), statistics.stdev(present)
    return [0.0 if total is None else (total - mean) / (spread + 1e-4) for total in totals]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
