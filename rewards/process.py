"""The process reward: from a judge's verdict on a chain to integrity and knowledge, in code, for any penalty.

>>> clean = dict(image_features=True, options_eliminated=True, knowledge_cited=True,
...              definition_violated=False, contradiction=True, outdated_criterion=False)
>>> dimension(clean, "knowledge"), dimension(clean, "knowledge", penalty=0.3), lattice()
(0.6, 0.7, (0.0, 0.2, 0.6, 1.0))

Each dimension starts at 1, loses `penalty` per defect, floor 0 (arXiv 2504.09258; later work compared 0.3, 0.4, 0.5).
The events and which verdict is a defect stand in `rubrics/process.toml`; the sum is `judges.protocols.events.scores`.
Since a verdict holds events and not scores, another penalty needs no new judge call.

`Judging` is all that a reward needs from a judge protocol: one call for one answer, shared by every part that reads it.
Must not import a vendor SDK or a tensor library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

from rewards.judges.base import Judge
from rewards.judges.protocols.base import Judgement
from rewards.judges.protocols.events import DIMENSIONS, scores
from rewards.types import Completion, Parsed, Sample

__all__ = ["DIMENSIONS", "PENALTY", "Judgement", "Judging", "dimension", "lattice"]

PENALTY = 0.4
"""What one defect costs (arXiv 2504.09258)."""


class Judging(Protocol):
    """A judge protocol (events, paper, quality) as a reward uses it. Immutable and picklable.

    `Judgement.values` maps criterion names to bool (events) or a float in [0, 1]; it is None when `failure` names why
    there is no verdict. A completion without text is not judged.
    """

    name: ClassVar[str]

    async def judge(
        self, judge: Judge, sample: Sample, completion: Completion, parsed: Parsed, repeat: int = 0, label: str = ""
    ) -> Judgement:
        """One verdict on one answer."""

    def fingerprint(self) -> dict[str, Any]:
        """Everything about the protocol that can change a score: versions, text hashes, settings."""


def dimension(
    values: Mapping[str, Any], name: Literal["integrity", "knowledge"], penalty: float = PENALTY
) -> float:
    """One dimension in [0, 1]: computed from six events, or the float that the `paper` protocol was given.

    Raises `KeyError` when the verdict lacks a criterion: a gap is no defect and no merit.
    """
    if name in values:
        return float(values[name])
    return scores(values, penalty)[name]


def lattice(penalty: float = PENALTY) -> tuple[float, ...]:
    """The values that a dimension can take with three possible defects, ascending."""
    return tuple(sorted({round(max(0.0, 1.0 - penalty * defects), 10) for defects in range(4)}))
