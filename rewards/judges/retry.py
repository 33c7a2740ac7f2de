"""The one retry layer: which failures are worth another attempt, how long to wait, when to give up.

>>> status_error(529).failure, status_error(400).retryable, retry_after({"retry-after": "3"})
('overloaded', False, 3.0)

408, 409, 429, 5xx, connection failures and timeouts are tried again. The server's Retry-After is honoured; without
one the wait grows exponentially with jitter. One total deadline covers attempts and waits of a request, counted from
the moment its first attempt is sent. The vendors' own retries are switched off.
"""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from rewards.judges.base import JudgeError

_T = TypeVar("_T")

_NAMES = {408: "timeout", 409: "conflict", 429: "rate-limited", 529: "overloaded"}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or date), None when the server does not say."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        raw = headers.get(name)
        if raw is None:
            continue
        try:
            seconds = float(raw) * unit
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(raw).timestamp() - time.time()
            except (ValueError, TypeError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def status_error(status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> JudgeError:
    """The failure that an HTTP status stands for."""
    if status in _NAMES or status >= 500:
        name = _NAMES.get(status, "server-error")
        asked = retry_after(headers or {})
        return JudgeError(name, f"HTTP {status} {detail}".strip(), retryable=True, retry_after_s=asked)
    return JudgeError("bad-request", f"HTTP {status} {detail}".strip())


class Deadline:
    """Starts with the first attempt, not while a request queues for its slot."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started: float | None = None

    def start(self) -> None:
        """Begin to count, once."""
        if self._started is None:
            self._started = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds left."""
        return self._seconds if self._started is None else self._seconds - (time.monotonic() - self._started)


async def with_retries(
    attempt: Callable[[int], Awaitable[_T]], *, deadline: Deadline, max_attempts: int, backoff_s: float
) -> _T:
    """Await `attempt(1)`, `attempt(2)`, ... until one succeeds. Raises the last `JudgeError`."""
    backoff = wait_random_exponential(multiplier=backoff_s, max=20.0)

    def wait(state: RetryCallState) -> float:
        problem = state.outcome.exception() if state.outcome else None
        asked = problem.retry_after_s if isinstance(problem, JudgeError) else None
        return backoff(state) if asked is None else asked

    def stop(state: RetryCallState) -> bool:
        return state.attempt_number >= max_attempts or state.upcoming_sleep >= deadline.left

    retrying = AsyncRetrying(
        wait=wait, stop=stop, reraise=True,
        retry=retry_if_exception(lambda problem: isinstance(problem, JudgeError) and problem.retryable),
    )
    number = 0

    async def counted() -> _T:
        nonlocal number
        number += 1
        return await attempt(number)

    return await retrying(counted)
