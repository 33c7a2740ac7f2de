"""`quality`: six criteria graded in [0, 1] by a judge, reported at evaluation and never meant for training.

>>> list(Quality().expect().names)[:2]
['reasoning_accuracy', 'knowledge_accuracy']

Source of the criteria (R-ACC, K-ACC, rigor, professionalism, clarity, conciseness): arXiv 2504.09258.
"""

from __future__ import annotations

from typing import Any

from rewards.judges import texts
from rewards.judges.base import Expect
from rewards.judges.protocols.base import JudgeProtocol


class Quality(JudgeProtocol):
    """Values: `{criterion: float in [0, 1]}`; criterion names and their short forms stand in the rubric."""

    name = "quality"
    prompt = "prompts/quality.md"
    rubric = "rubrics/quality.toml"

    def expect(self) -> Expect:
        """Six numbers in steps of 0.1; the example lies between the steps, so that copying it is seen."""
        names = tuple(texts.rubric(self.rubric))
        example = {name: round(0.33 + 0.11 * (i % 4), 2) for i, name in enumerate(names)}
        return Expect("unit", names, example=example, lattice=tuple(round(i / 10, 1) for i in range(11)))

    def schema(self) -> dict[str, Any]:
        """Six numbers, nothing else."""
        names = list(texts.rubric(self.rubric))
        return {
            "type": "object",
            "properties": {name: {"type": "number"} for name in names},
            "required": names,
            "additionalProperties": False,
        }
