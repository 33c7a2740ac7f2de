"""The append-only record of finished answers: `samples.jsonl`, which is also what a resumed run reads.

    with Journal(Path("runs/r1/samples.jsonl")) as journal:
        journal.done                 # keys already answered
        journal.append(row)          # one line, in the kernel's hands when this returns
        journal.finish(keys)         # at the end: the same lines in canonical order, replaced in one step

A process killed at any moment leaves whole lines and at most one torn tail, which the next opening cuts off.
Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from rewards.errors import UserError

SYNC_EVERY_S = 2.0
"""A lost machine (not a lost process) can cost at most the answers of this many seconds."""


class Journal:
    """One JSON object a line, each with a `key`; holds a lock on its folder while open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[str, int] = {}
        self._synced = time.monotonic()

    def __enter__(self) -> Journal:
        self._lock = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            os.close(self._lock)
            raise UserError(f"another run is writing into {self.path.parent}; wait for it, or choose another --out") \
                from problem
        with ExitStack() as opened:
            opened.callback(os.close, self._lock)
            self._file = opened.enter_context(self.path.open("ab+"))
            self._recover()
            opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()
        os.close(self._lock)

    @property
    def done(self) -> set[str]:
        """Keys of all finished rows."""
        return set(self._offsets)

    def append(self, row: dict[str, Any]) -> None:
        """Write one row. Raises OSError (disk full, say) with the earlier rows intact."""
        line = (json.dumps(row, allow_nan=False) + "\n").encode("ascii")  # ASCII: U+2028 ends a line for many readers
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        self._offsets[row["key"]] = offset
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def drop_errors(self) -> None:
        """Forget rows that ended in an error, so that they are asked again; the answered ones stay as they are."""
        self._file.seek(0)
        errors = {row["key"] for row in map(json.loads, self._file) if row["finish_reason"] == "error"}
        self.finish([key for key in self._offsets if key not in errors])

    def finish(self, order: Iterable[str]) -> None:
        """Rewrite the rows in the order of their keys, atomically; a row whose key is not in `order` is left out."""
        wanted = list(order)
        offsets = [self._offsets[key] for key in wanted]
        if offsets == sorted(offsets) and len(offsets) == len(self._offsets):
            os.fsync(self._file.fileno())
            return
        draft = self.path.with_suffix(".draft")
        with draft.open("wb") as out:
            for offset in offsets:
                self._file.seek(offset)
                out.write(self._file.readline())
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self.path)
        self._file.close()
        self._file = self.path.open("ab+")
        self._recover()

    def _recover(self) -> None:
        """Read the keys; cut a torn last line off. A broken line elsewhere is not ours to guess at."""
        self._offsets = {}
        self._file.seek(0)
        offset = 0
        for number, line in enumerate(self._file, start=1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("torn")
                self._offsets[json.loads(line)["key"]] = offset
            except (ValueError, KeyError, TypeError) as problem:
                if self._file.read(1):
                    raise UserError(f"{self.path} line {number} is not a row of this bench ({problem}); it was changed "
                                    "from outside: restore it, or choose another --out") from problem
                self._file.truncate(offset)
                break
            offset += len(line)
        self._file.seek(0, os.SEEK_END)
