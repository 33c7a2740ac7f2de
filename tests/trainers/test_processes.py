"""Two processes are one run: the same losses, whole groups, one judge, one log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from training_cases import advantages, command, lines, trained

pytestmark = pytest.mark.slow


def together(recipe: Path, out: Path, *more: str) -> Path:
    launcher = [str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2", "--master_port", "0",
                "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    done = subprocess.run([*launcher, *command(recipe, out, *more, "--processes", "2")[1:]], check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return out / "seed-5"


def test_supervised_losses_are_those_of_one_process(small, tmp_path):
    one = lines(trained(small, tmp_path / "one", "--variants", "alpha") / "alpha" / "log.jsonl")
    two = lines(together(small, tmp_path / "two", "--variants", "alpha") / "alpha" / "log.jsonl")
    assert [entry["loss"] for entry in two] == pytest.approx([entry["loss"] for entry in one], rel=1e-4)
    assert [entry["learning_rate"] for entry in two] == [entry["learning_rate"] for entry in one]


def test_reinforcement_over_two_processes(small, tmp_path):
    """One group a step, its four members on two ranks; then greedy sampling, where the set of rewards is known."""
    more = ["--set", "sft.max_steps=2", "--set", "grpo.batch_size=4"]
    stages = together(small, tmp_path / "sampled", *more, "--set", "grpo.temperature=1.5")
    rows, scores = (lines(stages / "beta" / "rollouts" / name) for name in ("samples.jsonl", "scores.jsonl"))
    assert len(rows) == 6 * 4
    for start in range(0, len(rows), 4):
        totals = [line["total"] for line in scores[start:start + 4]]
        assert [row["advantage"] for row in rows[start:start + 4]] == pytest.approx(advantages(totals), abs=1e-4)
    assert any(row["advantage"] for row in rows)
    asked = [entry["request"] for entry in lines(tmp_path / "sampled" / "judge-ledger.jsonl")]
    assert len(asked) == len(set(asked)), "every judge call is made once for both ranks"

    greedy = ["--set", "sft.max_steps=2", "--set", "grpo.top_k=1"]
    alone, both = trained(small, tmp_path / "alone", *greedy), together(small, tmp_path / "both", *greedy)
    logged = [sorted((row["step"], row["id"].partition("#")[0], row["completion"], line["total"]) for row, line in zip(
        lines(s / "beta" / "rollouts" / "samples.jsonl"), lines(s / "beta" / "rollouts" / "scores.jsonl"),
        strict=True)) for s in (alone, both)]
    assert logged[0] == logged[1] and len(logged[0]) == 48
