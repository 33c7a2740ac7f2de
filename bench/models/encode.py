"""Turns requests into model-ready rows, one ahead of the generation that needs them.

    feed = Feed(encode, order, ahead=16)
    rows = feed.take(4)          # waits only for the first
    feed.put_back([3, 7])        # after an out-of-memory: encode these again, first

One thread prepares rows while the model generates; at most `ahead` rows and `AHEAD_BYTES` of pixels wait, so that
memory does not grow with the number or the size of the images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

AHEAD_BYTES = 48 * 2**20


@dataclass(slots=True)
class Row:
    """One encoded request. `ids` holds the prompt with its image tokens expanded; pixels and grid are None if blind.

    `error` is set, and nothing else, when the request cannot be encoded.
    """

    index: int
    ids: list[int]
    pixels: Any = None
    grid: Any = None
    error: str | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of pixel values held."""
        return 0 if self.pixels is None else int(self.pixels.nbytes)


class Feed:
    """Rows in a given order, prepared in the background."""

    def __init__(self, encode: Callable[[int], Row], order: Iterable[int], ahead: int) -> None:
        self._encode = encode
        self._todo: deque[int] = deque(order)
        self._ready: deque[Future[Row]] = deque()
        self._ahead = max(1, ahead)
        self._row_bytes = 0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")

    def __enter__(self) -> Feed:
        self._top_up()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def empty(self) -> bool:
        """True when no row is left to take."""
        return not self._ready and not self._todo

    def take(self, count: int) -> list[Row]:
        """The next `count` rows, fewer at the end."""
        rows: list[Row] = []
        while len(rows) < count and not self.empty:
            self._top_up()
            row = self._ready.popleft().result()
            self._row_bytes = max(self._row_bytes, row.nbytes)
            rows.append(row)
        self._top_up()
        return rows

    def put_back(self, indices: Iterable[int]) -> None:
        """Queue these requests again, before all others."""
        waiting = [self._ready.popleft() for _ in range(len(self._ready))]
        self._todo.extendleft(reversed([*indices, *(future.result().index for future in waiting)]))

    def _top_up(self) -> None:
        limit = self._ahead
        if self._row_bytes:
            limit = max(1, min(limit, AHEAD_BYTES // self._row_bytes))
        while self._todo and len(self._ready) < limit:
            self._ready.append(self._pool.submit(self._encode, self._todo.popleft()))
