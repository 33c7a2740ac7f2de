"""Replies that were paid for, kept in SQLite (WAL, JSON values), and claims on those that are being asked for.

    cache = ReplyCache(Path("judge-cache.sqlite"))
    if cache.get(key) is None and cache.claim(key):
        cache.put(key, {"text": "..."})          # stores the reply and gives the claim back, in one transaction

A claim keeps a second process from paying for the same reply. It carries a lease that its owner renews; the claim of
a process that died on this machine counts as gone at once, so that a resume after SIGKILL does not wait.
Calls are synchronous on purpose: one indexed read costs some 20 microseconds, less than handing it to a thread.
One machine only: WAL needs shared memory. Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rewards.errors import UserError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, value TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
"""
_VERSION = 1


class Cache(Protocol):
    """What the stack needs from a cache."""

    def get(self, key: str) -> dict[str, Any] | None:
        """The stored value, None when there is none."""

    def claim(self, key: str) -> bool:
        """True when this process may ask; False while somebody else does, or has just stored the reply."""

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store the value and give the claim back."""

    def release(self, key: str) -> None:
        """Give the claim back without a value."""

    def renew(self) -> None:
        """Prolong all claims held."""

    def close(self) -> None:
        """Give all claims back and close."""


class MemoryCache:
    """The last `size` replies of this process; used when no cache file is named."""

    def __init__(self, size: int = 4_096) -> None:
        self._size = size
        self._values: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def get(self, key: str) -> dict[str, Any] | None:
        """See `Cache`."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def claim(self, key: str) -> bool:
        """Nobody else shares this memory."""
        return True

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """See `Cache`."""
        self._values[key] = dict(value)
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    def release(self, key: str) -> None:
        """Nothing is held."""

    def renew(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Forget."""
        self._values.clear()


def _start_of(pid: int) -> str:
    """Start time of a process in clock ticks (field 22 of /proc/PID/stat), "" when unknown; tells reused ids apart."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _machine() -> str:
    """Names the place where a process id means something: this boot of this machine and its PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return os.uname().nodename


class ReplyCache:
    """One cache file. Opens on first use; a forked child opens its own connection."""

    def __init__(self, path: Path, lease_s: float = 30.0) -> None:
        self.path = path
        self.lease_s = lease_s
        self._held: set[str] = set()
        self._database: sqlite3.Connection | None = None
        self._pid = -1
        self._owner = ""
        self._where = ""

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._database is None or self._pid != os.getpid():
                self._connect()
            assert self._database is not None
            yield self._database
        except sqlite3.OperationalError as problem:
            if "full" in str(problem):
                raise OSError(errno.ENOSPC, "no space left for the judge cache", str(self.path)) from None
            raise UserError(f"judge cache {self.path}: {problem}; is the folder there and writable?") from None
        except sqlite3.DatabaseError as problem:
            raise UserError(f"judge cache {self.path} cannot be read ({problem}); name another file "
                            "or delete it") from None

    def _connect(self) -> None:
        self._held = set()
        self._pid = os.getpid()
        self._where = _machine()
        self._owner = f"{self._where}|{self._pid}|{_start_of(self._pid)}|{uuid.uuid4().hex[:8]}"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + 10
        while True:
            database = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            try:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                found = database.execute("PRAGMA user_version").fetchone()[0]
                if found not in (0, _VERSION):
                    raise UserError(f"judge cache {self.path} has format {found}, this version writes {_VERSION}; "
                                    "name another file")
                database.executescript(_SCHEMA)
                database.execute(f"PRAGMA user_version={_VERSION}")
                break
            except sqlite3.OperationalError as problem:
                database.close()
                # two processes that switch a new file to WAL at once are told "locked" without any waiting
                if "locked" not in str(problem) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            except BaseException:
                database.close()
                raise
        self._database = database

    def get(self, key: str) -> dict[str, Any] | None:
        """See `Cache`."""
        with self._open() as database:
            row = database.execute("SELECT value FROM replies WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def claim(self, key: str) -> bool:
        """See `Cache`. Takes over claims whose lease ran out or whose owner is dead."""
        now = time.time()
        with self._open() as database, _write(database):
            if database.execute("SELECT 1 FROM replies WHERE key = ?", (key,)).fetchone():
                return False
            row = database.execute("SELECT owner, expires FROM claims WHERE key = ?", (key,)).fetchone()
            if row is not None and row[0] != self._owner and row[1] > now and not self._dead(row[0]):
                return False
            database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (key, self._owner, now + self.lease_s))
        self._held.add(key)
        return True

    def _dead(self, owner: str) -> bool:
        where, pid, start, _ = owner.split("|")
        return where == self._where and bool(start) and _start_of(int(pid)) != start

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """See `Cache`."""
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        with self._open() as database, _write(database):
            database.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", (key, text, time.time()))
            database.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self._owner))
        self._held.discard(key)

    def release(self, key: str) -> None:
        """See `Cache`."""
        if key in self._held:
            with self._open() as database:
                database.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self._owner))
            self._held.discard(key)

    def renew(self) -> None:
        """See `Cache`."""
        if self._held:
            with self._open() as database:
                until = time.time() + self.lease_s
                database.execute("UPDATE claims SET expires = ? WHERE owner = ?", (until, self._owner))

    def close(self) -> None:
        """See `Cache`."""
        if self._database is not None and self._pid == os.getpid():
            self._database.execute("DELETE FROM claims WHERE owner = ?", (self._owner,))
            self._database.close()
        self._database = None
        self._held = set()


@contextmanager
def _write(database: sqlite3.Connection) -> Iterator[None]:
    """IMMEDIATE takes the write lock at the start: a read that is upgraded later fails instead of waiting."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
