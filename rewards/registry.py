"""What a part is, and which parts exist: a base class, a decorator that only records, and where parts are looked for.

    from rewards.registry import Part, part

    @part("brief", version="1")
    class Brief(Part):
        '''1 when the reasoning has at most `words` words.'''

        class Settings(PartSettings):
            words: int = 100

        async def score(self, sample, parsed, completion):
            return self.give(float(len((parsed.think or "").split()) <= self.settings.words))

Looked for: every module of `rewards.parts`, then the entry-point group `pathvlm_bench.parts` of installed packages (the
value is a module whose import records the part). There is no list to keep in sync. A part is one file and knows
nothing of weights, of other parts or of the judge. Must not import a vendor SDK or a tensor library.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib import metadata
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from rewards.errors import UserError, suggest
from rewards.process import Judgement
from rewards.types import Completion, Parsed, Sample, Score

GROUP = "pathvlm_bench.parts"

_PARTS: dict[str, type[Part]] = {}
_P = TypeVar("_P", bound="type[Part]")


class PartSettings(BaseModel):
    """Settings of a part; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part:
    """One verdict on one answer, in [0, 1] or missing with a reason. Immutable and picklable.

    A subclass overrides `score`; what it needs to know beyond the answer stands in its `Settings`.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = ""
    waits: ClassVar[bool] = False
    """True: `score` waits for something outside (a server, a model), so many answers are scored at the same time."""
    Settings: ClassVar[type[PartSettings]] = PartSettings

    def __init__(self, settings: PartSettings | None = None) -> None:
        self.settings: Any = settings if settings is not None else self.Settings()

    async def score(self, sample: Sample, parsed: Parsed, completion: Completion) -> Score:
        """The verdict. An exception here costs this one verdict (failure "part-error"), not the batch."""
        raise NotImplementedError(f"part {self.name!r} has no score()")

    def give(self, value: float, reason: str = "", **detail: Any) -> Score:
        """A verdict with a value in [0, 1]."""
        return Score(self.name, value, reason, None, detail)

    def missing(self, failure: str, reason: str = "", **detail: Any) -> Score:
        """No verdict, and why. Never a number in place of one."""
        return Score(self.name, None, reason, failure, detail)


class JudgedPart(Part):
    """A part that reads a judge's verdict. All parts that name the same `judging` share one call for one answer.

    `judging` is "process" (the protocol that the spec's [judge] table names) or "quality".
    """

    judging: ClassVar[Literal["process", "quality"]] = "process"

    def read(self, judgement: Judgement) -> Score:
        """This part's value from a verdict; called only when there is one. Pure."""
        raise NotImplementedError(f"part {self.name!r} has no read()")


def part(name: str, version: str) -> Callable[[_P], _P]:
    """Record a part under `name`. `version` is bumped with every change that can move a value."""

    def record(cls: _P) -> _P:
        known = _PARTS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise UserError(f"two parts are called {name!r}: {known.__module__} and {cls.__module__}")
        cls.name, cls.version = name, version
        _PARTS[name] = cls
        return cls

    return record


def find(name: str) -> type[Part]:
    """The part called `name`. Raises `UserError` naming the closest one."""
    _scan()
    if name not in _PARTS:
        for entry in metadata.entry_points(group=GROUP):
            if entry.name == name:
                try:
                    entry.load()
                except ImportError as problem:
                    raise UserError(
                        f"part {name!r} is announced by {entry.value!r}, which cannot be imported: {problem}"
                    ) from problem
    if name not in _PARTS:
        raise UserError(f"no reward part {name!r}{suggest(name, names())}; known: {', '.join(names())}")
    return _PARTS[name]


def names() -> list[str]:
    """All names that `find` accepts, sorted; outside packages are named without importing them."""
    _scan()
    return sorted({*_PARTS, *(entry.name for entry in metadata.entry_points(group=GROUP))})


def _scan() -> None:
    package = importlib.import_module("rewards.parts")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"rewards.parts.{module.name}")
