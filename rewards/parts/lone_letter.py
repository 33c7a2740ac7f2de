"""`lone_letter`: MedVLM-R1's accuracy: 1 for the right letter alone in the answer block, 0.5 with extra text, else 0.

    [parts.lone_letter]
"""

from __future__ import annotations

from rewards.registry import Part, part
from rewards.types import Completion, Parsed, Sample, Score


@part("lone_letter", version="1")
class LoneLetter(Part):
    """0, 0.5 or 1. "Alone" is one upper-case letter and white space; which letter is read by the `letter` contract."""

    async def score(self, sample: Sample, parsed: Parsed, completion: Completion) -> Score:
        """A right letter that is decorated or explained earns half."""
        if parsed.letters["letter"] != sample.answer_letter:
            return self.give(0.0, parsed.problem or f"read {parsed.letters['letter']}, right is {sample.answer_letter}")
        if (parsed.answer or "").strip() == sample.answer_letter:
            return self.give(1.0)
        return self.give(0.5, "right, with extra text")
