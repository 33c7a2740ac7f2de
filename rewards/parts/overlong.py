"""`overlong`: the soft overlong penalty of DAPO (used by Patho-R1), turned so that 1 is no penalty and 0 the full one.

    [parts.overlong]
    max_tokens = 1024          # from here on the full penalty
    soft_tokens = 256          # the penalty grows over so many tokens before

DAPO's penalty is 0 up to `max_tokens - soft_tokens`, falls linearly to -1 at `max_tokens` and stays there; this part is
1 plus that penalty.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from rewards.registry import Part, PartSettings, part
from rewards.types import Completion, Parsed, Sample, Score


@part("overlong", version="1")
class Overlong(Part):
    """In [0, 1]; missing where the backend does not tell the number of tokens."""

    class Settings(PartSettings):
        """Lengths in tokens of the completion."""

        max_tokens: int = Field(1024, ge=1)
        soft_tokens: int = Field(256, ge=1)

        @model_validator(mode="after")
        def _soft_within_max(self) -> Overlong.Settings:
            if self.soft_tokens > self.max_tokens:
                raise ValueError("soft_tokens must not be larger than max_tokens")
            return self

    async def score(self, sample: Sample, parsed: Parsed, completion: Completion) -> Score:
        """Length is counted in tokens only; characters would be a guess."""
        length = completion.tokens_out
        if length is None:
            return self.missing("no-token-count", "the backend did not tell how many tokens it made")
        over = length - (self.settings.max_tokens - self.settings.soft_tokens)
        return self.give(min(1.0, max(0.0, 1.0 - over / self.settings.soft_tokens)), tokens=length)
