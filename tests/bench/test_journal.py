"""The journal keeps every whole line, whatever happens in the middle of one."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.journal import Journal
from rewards.errors import UserError


def row(number: int, **more: object) -> dict:
    text = "line\nbreak \u2028 \ud800 \U0001f52c" * 3
    return {"key": f"k{number}", "finish_reason": "stop", "completion": text, **more}


def fill(path: Path, count: int) -> bytes:
    with Journal(path) as journal:
        for number in range(count):
            journal.append(row(number))
    return path.read_bytes()


def test_rows_survive_reopening(tmp_path):
    path = tmp_path / "samples.jsonl"
    whole = fill(path, 5)
    with Journal(path) as journal:
        assert journal.done == {f"k{n}" for n in range(5)}
        journal.append(row(5))
    assert path.read_bytes().startswith(whole)
    assert [json.loads(line)["key"] for line in path.read_text().splitlines() if line] == [f"k{n}" for n in range(6)]


def test_a_tail_torn_at_any_byte_costs_one_row(tmp_path):
    path = tmp_path / "samples.jsonl"
    whole = fill(path, 3)
    second = whole.index(b"\n") + 1
    third = whole.index(b"\n", second) + 1
    for cut in [*range(third, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with Journal(path) as journal:
            assert journal.done == {"k0", "k1"}
            journal.append(row(2))
        assert path.read_bytes() == whole


def test_a_damaged_row_in_the_middle_is_not_guessed_at(tmp_path):
    path = tmp_path / "samples.jsonl"
    lines = fill(path, 3).splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{broken\n" + lines[2])
    with pytest.raises(UserError, match="line 2 is not a row"), Journal(path):
        pass
    assert path.read_bytes() == lines[0] + b"{broken\n" + lines[2], "nothing was cut off"


def test_finish_puts_rows_in_order_and_drops_what_does_not_belong(tmp_path):
    path = tmp_path / "samples.jsonl"
    with Journal(path) as journal:
        for number in (3, 1, 2, 9):
            journal.append(row(number))
        journal.finish(["k1", "k2", "k3"])
        assert journal.done == {"k1", "k2", "k3"}
    assert [json.loads(line)["key"] for line in path.read_text().split("\n") if line] == ["k1", "k2", "k3"]
    assert not list(tmp_path.glob("*.draft"))


def test_errors_can_be_asked_again(tmp_path):
    path = tmp_path / "samples.jsonl"
    with Journal(path) as journal:
        journal.append(row(0))
        journal.append(row(1, finish_reason="error"))
        journal.drop_errors()
        assert journal.done == {"k0"}


def test_two_writers_are_refused(tmp_path):
    path = tmp_path / "samples.jsonl"
    with Journal(path), pytest.raises(UserError, match="another run is writing"), Journal(path):
        pass
    with Journal(path):
        pass


def test_nothing_that_is_not_json_is_written(tmp_path):
    with Journal(tmp_path / "samples.jsonl") as journal, pytest.raises(ValueError, match="Out of range"):
        journal.append(row(0, latency_s=float("nan")))


def test_a_full_disk_keeps_the_rows_before_it(tmp_path):
    path = tmp_path / "samples.jsonl"
    with Journal(path) as journal:
        journal.append(row(0))

        class Full:
            def __init__(self, inner):
                self.inner = inner

            def write(self, data):
                self.inner.write(data[: len(data) // 2])
                self.inner.flush()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            def __getattr__(self, name):
                return getattr(self.inner, name)

        journal._file = Full(journal._file)
        with pytest.raises(OSError, match="No space"):
            journal.append(row(1))
    with Journal(path) as journal:
        assert journal.done == {"k0"}


WRITER = """
import sys
from pathlib import Path
from bench.journal import Journal
with Journal(Path(sys.argv[1])) as journal:
    for number in range(10_000):
        if f"k{number}" not in journal.done:
            journal.append({"key": f"k{number}", "completion": "x" * 500})
            print(number, flush=True)
"""


def test_killed_writers_lose_nothing_they_reported(tmp_path):
    path, chance = tmp_path / "samples.jsonl", random.Random(0)
    reported: set[str] = set()
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(chance.randint(1, 200)):
            reported.add(f"k{process.stdout.readline().strip()}")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with Journal(path) as journal:
        assert reported <= journal.done
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert len(keys) == len(set(keys))
