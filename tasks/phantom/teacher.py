"""Reasoning to learn from, with flaws that are documented knobs; the flaw-free teacher is the default.

>>> rows = training_rows("derm", "train", n=3)
>>> rows[0].target.startswith("<think>See: ")
True
>>> flawed = Teacher(near_miss=0.6)          # names a near-miss value for half of the values, 60 % of the time

A *systematic* flaw touches the same values every time (`near_miss_share`), so that a student learns it as a rule;
an unsystematic one (`skip_*`, `definition_violated`, ...) is drawn afresh for each chain. Rows carry the constructed
events of every chain, so the teacher's own integrity and knowledge are known exactly.

Must not import torch or anything of `bench`.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

import numpy as np

from rewards.errors import UserError
from rewards.types import Sample
from tasks import prompts
from tasks.phantom.chains import FAMILIES, STEPS, Chain, pick, target
from tasks.phantom.defects import ERRORS, build
from tasks.phantom.questions import OPTIONS, Question, from_facts
from tasks.phantom.suite import samples


@dataclass(frozen=True, slots=True)
class Teacher:
    """Probabilities in [0, 1] of each flaw, per chain; 0 everywhere is the gold teacher.

    `skip_image`, `skip_elimination`, `skip_rule` leave a step out. `definition_violated`, `contradiction`, `outdated`
    insert an error. `near_miss` argues for the neighbouring *offered* value and answers it (with
    `answer_follows` False the reasoning is wrong and the answer right); `near_miss_share` is the share of a kind's
    values that the flaw touches, the same ones in every split and for every seed. `family` names the wordings.
    """

    skip_image: float = 0.0
    skip_elimination: float = 0.0
    skip_rule: float = 0.0
    definition_violated: float = 0.0
    contradiction: float = 0.0
    outdated: float = 0.0
    near_miss: float = 0.0
    near_miss_share: float = 0.5
    answer_follows: bool = True
    family: str = "compact"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "float" and not 0.0 <= value <= 1.0:
                raise UserError(f"teacher flaw {field.name} is a probability in [0, 1], not {value}")
        if self.family not in FAMILIES:
            raise UserError(f"teacher wordings are one of {', '.join(FAMILIES)}, not {self.family!r}")


@dataclass(frozen=True, slots=True)
class Row:
    """One example of supervised fine-tuning: text prompt (the image goes before it) and target completion.

    `events` are the constructed events of the chain, named as in `rewards/rubrics/process.toml`; `claimed` is the
    value that it argues for.
    """

    sample: Sample
    prompt: str
    target: str
    chain: Chain
    events: Mapping[str, bool]
    claimed: str


def training_rows(task: str, split: str = "train", n: int | None = None, seed: int = 0,
                  teacher: Teacher | None = None, size: int | None = None, options: int = OPTIONS,
                  only: Collection[str] | None = None) -> list[Row]:
    """The split's samples, each with the teacher's chain. Same arguments, same rows. Raises: UserError."""
    teacher = teacher or Teacher()
    return [teach(sample, teacher, seed) for sample in samples(task, split, n, size, seed, options, only)]


def teach(sample: Sample, teacher: Teacher, seed: int = 0) -> Row:
    """The teacher's chain for one phantom sample. Raises: ValueError for a sample without phantom facts."""
    question = from_facts(sample.facts or {})
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(sample.id.encode())]))
    draws = rng.random(7).tolist()
    skipped = (teacher.skip_image, teacher.skip_rule, teacher.skip_elimination)
    missing = {step for step, chance, draw in zip(STEPS, skipped, draws[:3], strict=True) if draw < chance}
    inserted = (teacher.definition_violated, teacher.contradiction, teacher.outdated)
    errors = {name for name, chance, draw in zip(ERRORS, inserted, draws[3:6], strict=True) if draw < chance}
    claimed = question.value
    if draws[6] < teacher.near_miss and touched(question, teacher.near_miss_share):
        claimed = near_miss(question, rng)
    built = build(question, rng, missing, errors, teacher.family, claimed)
    answered = claimed if teacher.answer_follows else question.value
    events = dict(built.events)
    if answered != claimed:  # the answer contradicts what the chain concludes, if it concludes anything
        concludes = "options_eliminated" not in missing or (
            "image_features" not in missing and question.about.attribute is not None)
        events["contradiction"] = events["contradiction"] or concludes
    return Row(sample, prompts.render(sample), target(built.chain, question, answered), built.chain, events, claimed)


def touched(question: Question, share: float) -> bool:
    """Whether the near-miss flaw touches this value: `share` of a kind's values, spread over their order."""
    keys = list(question.about.values)
    place = keys.index(question.value) + zlib.crc32(f"{question.task}/{question.kind}".encode()) % len(keys)
    return (place % len(keys)) < round(share * len(keys))


def near_miss(question: Question, rng: np.random.Generator) -> str:
    """The offered wrong value closest to the true one in the kind's order; ties are drawn."""
    order = list(question.about.values)
    at = order.index(question.value)
    wrong = [key for key in question.choices if key != question.value]
    nearest = min(abs(order.index(key) - at) for key in wrong)
    return str(pick(rng, [key for key in wrong if abs(order.index(key) - at) == nearest]))
