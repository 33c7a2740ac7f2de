"""How many calls are in flight at one endpoint; optionally fewer after a 429 and more again after successes.

    async with endpoint_limit("http://127.0.0.1:8000/v1", 32).slot():
        ...

All judges of one event loop that talk to the same endpoint share one limit, the smallest that was asked for.
Processes share it by their settings: `concurrency` is divided by `processes`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

import anyio

_CUT, _PAUSE_S = 0.7, 1.0
"""A 429 cuts the limit to 70 %, at most once a second: one burst of refusals is one signal, not fifty."""


class EndpointLimit:
    """A capacity limiter; additive increase, multiplicative decrease when `adaptive`."""

    def __init__(self, concurrency: int, adaptive: bool = False) -> None:
        self.most = concurrency
        self.adaptive = adaptive
        self._limiter = anyio.CapacityLimiter(concurrency)
        self._successes = 0
        self._cut_at = float("-inf")

    @property
    def now(self) -> int:
        """Calls allowed in flight at this moment."""
        return int(self._limiter.total_tokens)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one slot; waits until there is one."""
        async with self._limiter:
            yield

    def lower_to(self, concurrency: int) -> None:
        """Another judge wants fewer calls at the same endpoint."""
        self.most = min(self.most, concurrency)
        self._limiter.total_tokens = min(self.now, self.most)

    def refused(self) -> None:
        """The endpoint answered 429."""
        if self.adaptive and time.monotonic() - self._cut_at > _PAUSE_S:
            self._cut_at = time.monotonic()
            self._successes = 0
            self._limiter.total_tokens = max(1, int(self.now * _CUT))

    def succeeded(self) -> None:
        """The endpoint answered; after one full round of successes the limit grows by one."""
        if self.adaptive and self.now < self.most:
            self._successes += 1
            if self._successes >= self.now:
                self._successes = 0
                self._limiter.total_tokens = self.now + 1


_LIMITS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, EndpointLimit]] = WeakKeyDictionary()


def endpoint_limit(endpoint: str, concurrency: int, *, processes: int = 1, adaptive: bool = False) -> EndpointLimit:
    """The limit of `endpoint` in the running event loop, created on first use."""
    share = max(1, concurrency // processes)
    limits = _LIMITS.setdefault(asyncio.get_running_loop(), {})
    if endpoint not in limits:
        limits[endpoint] = EndpointLimit(share, adaptive)
    elif share < limits[endpoint].most:
        limits[endpoint].lower_to(share)
    return limits[endpoint]
