"""`accuracy`: 1 when the letter that an extraction contract reads is the right one, else 0.

    [parts.accuracy]
    contract = "strict"        # the paper: "letter option and content"; default "letter"

An answer that the contract cannot read is 0, as a wrong one is; `reason` tells them apart.
"""

from __future__ import annotations

from typing import Literal

from rewards.registry import Part, PartSettings, part
from rewards.types import Completion, Parsed, Sample, Score


@part("accuracy", version="1")
class Accuracy(Part):
    """0 or 1."""

    class Settings(PartSettings):
        """`contract`: see `rewards.parse`."""

        contract: Literal["strict", "letter", "omnimed"] = "letter"

    async def score(self, sample: Sample, parsed: Parsed, completion: Completion) -> Score:
        """Compare letters."""
        contract: str = self.settings.contract
        read = parsed.letters[contract]
        if read == sample.answer_letter:
            return Score("accuracy", 1.0)
        if read is None:
            return Score("accuracy", 0.0, f"no letter read: {parsed.problem or 'not in the form of the contract'}")
        return Score("accuracy", 0.0, f"read {read}, right is {sample.answer_letter}")
