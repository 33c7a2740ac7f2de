"""The six quality metrics reported at evaluation, graded in [0, 1] by a judge in one call (arXiv 2504.09258).

    [parts.r_acc]
    [parts.conciseness]

`r_acc` (R-ACC): the reasoning supports the answer; `k_acc` (K-ACC): medical accuracy; `rigor`, `professionalism`,
`clarity`, `conciseness`. Their definitions stand in `rubrics/quality.toml`. Meant for evaluation, not for training.
"""

from __future__ import annotations

from typing import ClassVar

from rewards.process import Judgement
from rewards.registry import JudgedPart, part
from rewards.types import Score


class _Criterion(JudgedPart):
    judging = "quality"
    criterion: ClassVar[str]

    def read(self, judgement: Judgement) -> Score:
        """The grade of this criterion as it was given."""
        return self.give(float((judgement.values or {})[self.criterion]), judgement.reason)


@part("r_acc", version="1")
class ReasoningAccuracy(_Criterion):
    """R-ACC."""

    criterion = "reasoning_accuracy"


@part("k_acc", version="1")
class KnowledgeAccuracy(_Criterion):
    """K-ACC."""

    criterion = "knowledge_accuracy"


@part("rigor", version="1")
class Rigor(_Criterion):
    """Claims tied to evidence, alternatives weighed."""

    criterion = "rigor"


@part("professionalism", version="1")
class Professionalism(_Criterion):
    """The terminology of a medical report."""

    criterion = "professionalism"


@part("clarity", version="1")
class Clarity(_Criterion):
    """Understood at the first reading."""

    criterion = "clarity"


@part("conciseness", version="1")
class Conciseness(_Criterion):
    """Nothing could be dropped."""

    criterion = "conciseness"
