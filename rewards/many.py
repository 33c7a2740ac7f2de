"""Many answers at once: a bounded window of scorings, results in the order of the input, a bar on a terminal.

    async for result in Many(reward.score, pairs, concurrency=64): ...
    results = await Many(reward.score, pairs, concurrency=64)

At most `concurrency` scorings run and at most four times as many results wait for an earlier one, however long the
input is. The first exception cancels the rest. Standard library, and `rich` once a bar is shown.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Sized,
)
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

from rewards.errors import UserError
from rewards.types import Completion, RewardResult, Sample

Pair = tuple[Sample, "Completion | str"]

_LOOKAHEAD = 4


class Many:
    """Scorings in progress; iterate it once, or await it for a list."""

    def __init__(
        self,
        score: Callable[[Sample, Completion | str], Awaitable[RewardResult]],
        pairs: Iterable[Pair] | AsyncIterable[Pair],
        concurrency: int = 64,
        progress: bool | None = None,
        title: str = "scoring",
    ) -> None:
        if concurrency < 1:
            raise UserError(f"concurrency must be at least 1, got {concurrency}")
        self._score = score
        self._pairs = pairs
        self._concurrency = concurrency
        self._progress = sys.stderr.isatty() if progress is None else progress
        self._title = title

    def __await__(self) -> Generator[Any, None, list[RewardResult]]:
        return self._all().__await__()

    async def _all(self) -> list[RewardResult]:
        return [result async for result in self]

    async def __aiter__(self) -> AsyncIterator[RewardResult]:
        async with AsyncExitStack() as stack:
            advance = _bar(stack, self._title, self._pairs) if self._progress else None
            results = self._one_by_one() if self._concurrency == 1 else self._window()
            stack.push_async_callback(results.aclose)
            async for result in results:
                if advance is not None:
                    advance()
                yield result

    async def _one_by_one(self) -> Any:
        async with aclosing(_drawn(self._pairs)) as pairs:
            async for sample, completion in pairs:
                yield await self._score(sample, completion)

    async def _window(self) -> Any:
        waiting: deque[asyncio.Task[RewardResult]] = deque()
        running = asyncio.Semaphore(self._concurrency)

        async def scored(sample: Sample, completion: Completion | str) -> RewardResult:
            try:
                return await self._score(sample, completion)
            finally:
                running.release()

        try:
            async with aclosing(_drawn(self._pairs)) as pairs:
                async for sample, completion in pairs:
                    while waiting and (waiting[0].done() or len(waiting) >= _LOOKAHEAD * self._concurrency):
                        yield await waiting.popleft()
                    await running.acquire()
                    waiting.append(asyncio.create_task(scored(sample, completion)))
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            for task in waiting:
                with suppress(asyncio.CancelledError, Exception):
                    await task


async def _drawn(pairs: Iterable[Pair] | AsyncIterable[Pair]) -> AsyncGenerator[Pair, None]:
    if isinstance(pairs, AsyncIterable):
        async for pair in pairs:
            yield pair
    else:
        for pair in pairs:
            yield pair


def _bar(stack: AsyncExitStack, title: str, pairs: Any) -> Callable[[], None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
    task = bar.add_task(title, total=len(pairs) if isinstance(pairs, Sized) else None)
    return lambda: bar.advance(task)
