"""A family killed at random moments ends with the weights of an undisturbed one; PATHVLM_KILLS says how often."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

import pytest
from training_cases import command, lines, trained, weights

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("PATHVLM_KILLS", "3"))


def moment(out):
    """How far a run is: files that grow while it works."""
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*")) if out.is_dir() else []
    log = out / "seed-5" / "beta" / "rollouts" / "samples.jsonl"
    return len(found), log.stat().st_size if log.exists() else 0


def test_killed_families_end_like_an_undisturbed_one(small, tmp_path):
    whole = trained(small, tmp_path / "whole")
    out = tmp_path / "broken"
    chance = random.Random(1)
    for kill in range(KILLS):
        before = moment(out)
        process = subprocess.Popen(command(small, out), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        while moment(out) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 12 if kill % 2 else 1))  # inside a step, a save, a rename, or the next stage
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), said[-2000:]
    broken = trained(small, out)
    for name in ("alpha", "beta"):
        assert weights(broken / name) == weights(whole / name), name
    for name in ("samples.jsonl", "scores.jsonl"):
        a, b = (lines(folder / "beta" / "rollouts" / name) for folder in (whole, broken))
        for entry in (*a, *b):
            entry.pop("usage", None)  # what was asked before the kill is cached after it
        assert a == b, name
    ledger = [json.loads(line)["request"] for line in (out / "judge-ledger.jsonl").read_text().splitlines()]
    assert len(ledger) == len(set(ledger)), "no judge call was paid for twice"
    assert not list(out.rglob("*.part")) and not list(out.rglob("trainer"))
