"""A run killed again and again ends with the answers of an undisturbed one; PATHVLM_KILLS is how often (default 5)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("PATHVLM_KILLS", "5"))


def command(model: Path, data: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "bench.run", "--model", str(model), "--data", str(data), "--tasks", "all",
            "--controls", "blind", "--max-new-tokens", "200", "--batch-size", "2", "--quiet", "--out", str(out)]


def rows(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "latency_s"} for row in found]


def answered(folder: Path) -> int:
    path = folder / "samples.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_killed_runs_end_like_an_undisturbed_one(talkative, data_root, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(talkative, data_root, whole), check=True)
    total = len(rows(whole))
    assert total == 68
    chance = random.Random(0)
    repeated = 0
    for kill in range(KILLS):
        before = answered(broken)
        wanted = before + chance.randint(0, max(1, (total - before) // (KILLS - kill + 1)))
        process = subprocess.Popen(command(talkative, data_root, broken), stderr=subprocess.PIPE, text=True)
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0, 4))  # while it loads
        else:
            while answered(broken) < wanted and process.poll() is None:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), said
        assert answered(broken) >= before, "a kill never loses a finished answer"
        repeated += 1
    subprocess.run(command(talkative, data_root, broken), check=True)
    assert sorted(rows(broken), key=lambda row: row["key"]) == sorted(rows(whole), key=lambda row: row["key"])
    assert rows(broken) == rows(whole), "the finished file is in canonical order, too"
    assert (broken / "results.csv").read_text() == (whole / "results.csv").read_text()
    stored = [json.loads((folder / "manifest.json").read_text()) for folder in (whole, broken)]
    for manifest in stored:
        manifest.pop("created")
    assert stored[0] == stored[1]
    assert repeated == KILLS
