"""`format`: 1 when the output is exactly one think block followed by one answer block, else 0 (arXiv 2504.09258).

    [parts.format]

Whether the answer inside is an option is not asked here; that is `accuracy`.
"""

from __future__ import annotations

from rewards.registry import Part, part
from rewards.types import Completion, Parsed, Sample, Score


@part("format", version="1")
class Format(Part):
    """0 or 1."""

    async def score(self, sample: Sample, parsed: Parsed, completion: Completion) -> Score:
        """White space around the blocks is free, any other text is not."""
        return Score("format", 1.0 if parsed.well_formed else 0.0)
