"""Which judge backends exist: a decorator that only records, and the places that are searched for it.

>>> "scripted" in names()
True

Searched: every module of this package, then the entry-point group `pathvlm_bench.judges` of installed packages
(its value is a module whose import registers the backend). There is no list to keep in sync.
Must not import a vendor SDK or a tensor library; neither may a backend module at its own import.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib import metadata
from typing import TypeVar

from rewards.errors import UserError, suggest
from rewards.judges.base import JudgeBackend

GROUP = "pathvlm_bench.judges"

_BACKENDS: dict[str, type[JudgeBackend]] = {}
_B = TypeVar("_B", bound=type[JudgeBackend])


def judge_backend(name: str) -> Callable[[_B], _B]:
    """Record a backend under `name`, the word before the colon in a judge reference."""

    def record(cls: _B) -> _B:
        known = _BACKENDS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise UserError(f"two judge backends are called {name!r}: {known.__module__} and {cls.__module__}")
        cls.name = name
        _BACKENDS[name] = cls
        return cls

    return record


def _scan() -> None:
    package = importlib.import_module("rewards.judges")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.ispkg:
            importlib.import_module(f"rewards.judges.{module.name}")


def find(name: str) -> type[JudgeBackend]:
    """The backend called `name`. Raises `UserError` naming the closest one."""
    _scan()
    if name not in _BACKENDS:
        for entry in metadata.entry_points(group=GROUP):
            if entry.name == name:
                try:
                    entry.load()
                except ImportError as problem:
                    raise UserError(f"judge {name!r} is announced by {entry.value!r}, which cannot be imported: "
                                    f"{problem}") from problem
    if name not in _BACKENDS:
        raise UserError(f"no judge backend {name!r}{suggest(name, names())}; known: {', '.join(names())}")
    return _BACKENDS[name]


def names() -> list[str]:
    """All names that `find` accepts, sorted; outside packages are named without importing them."""
    _scan()
    return sorted({*_BACKENDS, *(entry.name for entry in metadata.entry_points(group=GROUP))})
