"""Which tasks exist: a decorator that only records, and where tasks are looked for.

    from tasks.registry import task

    @task("liver", "My liver set")
    def read(source, task, split=None, limit=None):
        rows = Collector(task, "myset", source, limit)
        ...
        return rows.finish()

Looked for: every module of `tasks.suites`, then the entry-point group `pathvlm_bench.tasks` of installed packages (the
value is a module whose import records the task). There is no list to keep in sync. The reader gets the data folder and
raises `UserError` when its files are not there. Must not import PIL, torch or lm_eval.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Protocol, TypeVar

from rewards.errors import UserError, suggest
from tasks.loaded import Loaded

GROUP = "pathvlm_bench.tasks"

PAPER = ("path", "ct", "derm", "fundus", "oct")
"""The paper's five tasks in the order they are reported: the in-domain one, then the out-of-domain modalities."""


class Reader(Protocol):
    """Reads one task from a data folder. Raises: UserError when its files are not there."""

    def __call__(self, source: Path, task: str, split: str | None = None, limit: int | None = None) -> Loaded:
        """`split` None is the task's own test split; `limit` keeps the first samples."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task's name, the title people read, and its reader."""

    name: str
    title: str
    read: Reader


_TASKS: dict[str, Task] = {}
_R = TypeVar("_R", bound=Reader)


def task(name: str, title: str) -> Callable[[_R], _R]:
    """Record a reader under a task name. Raises: UserError when another reader has that name."""

    def record(read: _R) -> _R:
        known = _TASKS.get(name)
        if known is not None and known.read is not read:
            raise UserError(f"two tasks are called {name!r}: {known.title!r} and {title!r}")
        _TASKS[name] = Task(name, title, read)
        return read

    return record


def find(name: str) -> Task:
    """The task called `name`. Raises: UserError naming the closest one."""
    _scan()
    if name not in _TASKS and name in _announced():
        try:
            _announced()[name].load()
        except ImportError as problem:
            raise UserError(f"task {name!r} is announced by {_announced()[name].value!r}, which cannot be imported: "
                            f"{problem}") from problem
    if name not in _TASKS:
        raise UserError(f"unknown task {name!r}{suggest(name, names())}; tasks are {', '.join(names())}")
    return _TASKS[name]


def names() -> tuple[str, ...]:
    """Every task name: the paper's five first, then others in alphabetical order, not imported for this."""
    _scan()
    return (*PAPER, *sorted({*_TASKS, *_announced()} - set(PAPER)))


def _announced() -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


@cache
def _scan() -> None:
    from tasks import suites

    for module in pkgutil.iter_modules(suites.__path__):
        importlib.import_module(f"{suites.__name__}.{module.name}")
