"""SDK clients of the running event loop, one for every dozen calls in flight.

    with self._clients.take() as client:
        await client.messages.create(...)

The connection pool under both SDKs (httpcore2 2.16) looks at every idle connection for every request: with 64 in one
pool that is a quarter of the CPU time of a call. Several small pools end it. A client also belongs to one event loop:
one that outlives its loop fails with "Event loop is closed". Must not import a vendor SDK.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_CALLS_EACH = 12


class ClientPool:
    """Makes clients with `make` as they are needed; a new event loop starts with none."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: list[Any] = []
        self._busy: list[int] = []

    def warm(self) -> None:
        """Make the first client, so that the SDK's import is not part of a call."""
        with self.take():
            pass

    @contextmanager
    def take(self) -> Iterator[Any]:
        """The first client with room for one more call."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._clients, self._busy = loop, [], []
        number = next((n for n, busy in enumerate(self._busy) if busy < _CALLS_EACH), len(self._busy))
        if number == len(self._clients):
            self._clients.append(self._make())
            self._busy.append(0)
        busy = self._busy
        busy[number] += 1
        try:
            yield self._clients[number]
        finally:
            busy[number] -= 1

    async def aclose(self) -> None:
        """Close the clients of the running loop; those of another loop cannot be closed any more."""
        if self._loop is asyncio.get_running_loop():
            for client in self._clients:
                await client.close()
        self._loop, self._clients, self._busy = None, [], []
