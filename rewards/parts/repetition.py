"""`repetition`: the share of word n-grams that are said for the first time; 1 is no repetition (as in VLM-R1).

    [parts.repetition]
    n = 3

The repetition penalty of the literature is this value minus 1.
"""

from __future__ import annotations

from pydantic import Field

from rewards.registry import Part, PartSettings, part
from rewards.types import Completion, Parsed, Sample, Score


@part("repetition", version="1")
class Repetition(Part):
    """In (0, 1]. A text of fewer than `n` words repeats nothing: 1."""

    class Settings(PartSettings):
        """`n`: words in one n-gram."""

        n: int = Field(3, ge=1, le=20)

    async def score(self, sample: Sample, parsed: Parsed, completion: Completion) -> Score:
        """Words are split at white space, case aside."""
        words = completion.text.lower().split()
        count = len(words) - self.settings.n + 1
        if count < 1:
            return self.give(1.0)
        distinct = len(set(zip(*(words[start:] for start in range(self.settings.n)), strict=False)))
        return self.give(distinct / count)
