"""How a judge is asked: files, limits, patience, budget.

>>> StackSettings(concurrency=32).timeout_s
60.0

Nothing here can change a verdict, so nothing here is part of a fingerprint; what can is a setting of the backend or of
the protocol. Unknown keys are refused.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator


class StackSettings(BaseModel):
    """Settings of the shared stack.

    `cache`, `ledger`: files (None: replies are kept for this process only, attempts are not recorded). `replay`: answer
    from the cache alone, never touch the network. `concurrency`: calls in flight at the endpoint, divided by
    `processes`; `adaptive`: fewer after a 429. `timeout_s` bounds one attempt, `deadline_s` all attempts and waits of a
    request, `max_attempts` their number, `backoff_s` the first wait. `max_usd`, `max_calls` stop the run cleanly;
    prices in USD per million tokens. `lease_s`: how long a claim outlives the last sign of life of its process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cache: Path | None = None
    ledger: Path | None = None
    replay: bool = False
    concurrency: int = Field(default=16, ge=1, le=4_096)
    processes: int = Field(default=1, ge=1)
    adaptive: bool = False
    timeout_s: float = Field(default=60.0, gt=0)
    deadline_s: float = Field(default=300.0, gt=0)
    max_attempts: int = Field(default=8, ge=1)
    backoff_s: float = Field(default=0.5, gt=0)
    max_usd: float | None = Field(default=None, ge=0)
    max_calls: int | None = Field(default=None, ge=0)
    usd_per_mtok_in: float | None = Field(default=None, ge=0)
    usd_per_mtok_out: float | None = Field(default=None, ge=0)
    lease_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> StackSettings:
        if self.replay and self.cache is None:
            raise ValueError("replay needs a cache file to replay from")
        if (self.usd_per_mtok_in is None) != (self.usd_per_mtok_out is None):
            raise ValueError("usd_per_mtok_in and usd_per_mtok_out belong together")
        return self

    @property
    def prices(self) -> tuple[float, float] | None:
        """USD per million tokens in and out, None when unknown."""
        if self.usd_per_mtok_in is None or self.usd_per_mtok_out is None:
            return None
        return self.usd_per_mtok_in, self.usd_per_mtok_out
