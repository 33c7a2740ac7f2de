"""Every attempt, one JSON line each, and what the run has spent so far.

    {"time": ..., "request": "9f2c...", "label": "...", "protocol": "events", "attempt": 1, "endpoint": ...,
     "model": ..., "outcome": "ok", "tokens_in": 812, "tokens_out": 160, "cost_usd": null, "latency_s": 1.84}

A line is written in one call to a file opened for appending, so that several processes can share a ledger.
It never holds a prompt, a reply or a key. Standard library only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rewards.errors import UserError


class Ledger:
    """Appends to `path`; does nothing when it is None. Opens on first use."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file = -1
        self._pid = -1

    def write(self, **line: Any) -> None:
        """Append one attempt."""
        if self.path is None:
            return
        if self._pid != os.getpid():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._pid = os.getpid()
        os.write(self._file, (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        if self._pid == os.getpid():
            os.close(self._file)
        self._file = self._pid = -1


class Spend:
    """Calls, tokens and money of this run, and the limits that stop it cleanly.

    Limits hold for one invocation: a resumed run pays nothing for what the cache holds and may spend the same again.
    `usd_per_mtok` are prices in USD per million tokens (in, out); None: unknown, then every cost is None.
    """

    def __init__(
        self,
        usd_per_mtok: tuple[float, float] | None = None,
        max_usd: float | None = None,
        max_calls: int | None = None,
    ) -> None:
        if max_usd is not None and usd_per_mtok is None:
            raise UserError("max_usd needs prices: set usd_per_mtok_in and usd_per_mtok_out (USD per million tokens)")
        self.prices = usd_per_mtok
        self.max_usd = max_usd
        self.max_calls = max_calls
        self.calls = self.replies = self.tokens_in = self.tokens_out = 0
        self.usd = 0.0
        self._in_flight = 0.0

    def cost(self, tokens_in: int | None, tokens_out: int | None) -> float | None:
        """USD of one reply, None when prices or counts are unknown."""
        if self.prices is None or tokens_in is None or tokens_out is None:
            return None
        return (tokens_in * self.prices[0] + tokens_out * self.prices[1]) / 1e6

    def ceiling(self, chars_in: int, max_tokens: int, image: bool) -> float:
        """Upper estimate of one call in USD: two characters a token, 3,000 tokens an image, every output token used."""
        if self.prices is None:
            return 0.0
        return ((chars_in / 2 + 3_000 * image) * self.prices[0] + max_tokens * self.prices[1]) / 1e6

    def reserve(self, ceiling: float) -> str | None:
        """Book one call; a sentence saying which limit is reached when there is no room for it."""
        if self.max_calls is not None and self.calls >= self.max_calls:
            return f"max_calls={self.max_calls} reached; what is paid is kept, run again to go on"
        if self.max_usd is not None and self.usd + self._in_flight + ceiling > self.max_usd:
            return (f"max_usd={self.max_usd:g} reached ({self.usd:.4f} USD spent); what is paid is kept, "
                    "run again to go on")
        self.calls += 1
        self._in_flight += ceiling
        return None

    def settle(self, ceiling: float, tokens_in: int | None = None, tokens_out: int | None = None) -> float | None:
        """Replace the booking by what the call cost; returns that cost."""
        self._in_flight -= ceiling
        cost = self.cost(tokens_in, tokens_out)
        self.tokens_in += tokens_in or 0
        self.tokens_out += tokens_out or 0
        self.usd += cost or 0.0
        return cost
