"""`integrity` and `knowledge`: the two dimensions of the paper's process reward, from one judge call.

    [parts.integrity]
    weight = 0.5
    penalty = 0.4              # what one defect costs; another value needs no new judge call

Arithmetic and sources: `rewards.process`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rewards.judges.protocols.events import defects, rubric_events
from rewards.process import PENALTY, Judgement, dimension
from rewards.registry import JudgedPart, PartSettings, part
from rewards.types import Score


class _Dimension(JudgedPart):
    judging = "process"
    dimension: ClassVar[Literal["integrity", "knowledge"]]

    class Settings(PartSettings):
        """`penalty` in (0, 1]: what one defect costs; it has no effect on the floats of the `paper` protocol."""

        penalty: float = Field(PENALTY, gt=0, le=1)

    def read(self, judgement: Judgement) -> Score:
        """The dimension's value, with the events it was computed from."""
        values = judgement.values or {}
        value = dimension(values, self.dimension, self.settings.penalty)
        if self.dimension in values:
            return self.give(value, judgement.reason)
        own = [name for name, event in rubric_events().items() if event["dimension"] == self.dimension]
        evidence = judgement.detail.get("evidence") or {}
        found = defects(values)[self.dimension]
        return self.give(
            value,
            judgement.reason or "; ".join(found),
            events={name: values[name] for name in own},
            defects=found,
            evidence={name: evidence[name] for name in own if evidence.get(name)},
        )


@part("integrity", version="1")
class Integrity(_Dimension):
    """Image features analysed, two options eliminated, medical knowledge cited: each missing one costs `penalty`."""

    dimension = "integrity"


@part("knowledge", version="1")
class Knowledge(_Dimension):
    """A definition violated, a contradiction, an outdated criterion: each one found costs `penalty`."""

    dimension = "knowledge"
