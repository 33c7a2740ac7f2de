"""The defect library: chains with known steps missing and known errors inserted at known places.

>>> import numpy as np
>>> from tasks.phantom.questions import ask
>>> question = ask("oct", np.random.default_rng(1))[1][0]
>>> made = build(question, np.random.default_rng(2), missing={"knowledge_cited"}, errors={"outdated_criterion"})
>>> made.integrity, made.knowledge
(0.6, 0.6)

Three steps can be missing and three errors inserted, in any combination: 8 x 8 sets, 16 cells by number. The events,
and so the scores, are known by construction. What is inserted:
- definition_violated: another value of the same kind is given the criterion of a third (or of the right) one;
- contradiction: the image is said to show a second value of the same finding, or one option is accepted and refused;
- outdated_criterion: a superseded criterion of the modality, see the `outdated` entries of the atlas.

Needs numpy. Must not import torch or anything of `bench`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.phantom.chains import STEPS, Chain, Pieces, claims, compose, fill, join, pick, wordings
from tasks.phantom.knowledge import analysed, finding, kinds, outdated, required
from tasks.phantom.questions import Question

ERRORS = ("definition_violated", "contradiction", "outdated_criterion")
"""The three knowledge errors, named as in `rewards/rubrics/process.toml`."""

EVENTS = (*STEPS, *ERRORS)
"""All six events."""

PENALTY = 0.4
"""Loss per defect (arXiv 2504.09258); a dimension starts at 1 and ends at 0 at the latest."""


@dataclass(frozen=True, slots=True)
class Made:
    """A chain with its truth: `events[name]` is True when the step or the error is in it; scores in [0, 1].

    What a chain for a value that is not true still holds: see `build`.
    """

    chain: Chain
    events: Mapping[str, bool]
    integrity: float
    knowledge: float


def score(events: Mapping[str, bool], penalty: float = PENALTY) -> tuple[float, float]:
    """Integrity and knowledge in [0, 1] of six known events."""
    missing = sum(not events[step] for step in STEPS)
    errors = sum(events[error] for error in ERRORS)
    return round(max(0.0, 1 - penalty * missing), 10), round(max(0.0, 1 - penalty * errors), 10)


def build(question: Question, rng: np.random.Generator, missing: Collection[str] = (), errors: Collection[str] = (),
          family: str = "compact", claimed: str | None = None) -> Made:
    """A chain without the steps in `missing` and with the errors in `errors`.

    `claimed` is the value argued for (None: the true one). A chain for a wrong value names findings that are not
    there, so it has no image analysis (unless the value follows from a sum: then the findings are right and the sum
    is wrong); it rules options out for a reason that does not hold, so it has no elimination either. Its rule is
    quoted correctly and counts.
    """
    value = question.value if claimed is None else claimed
    steps = [step for step in STEPS if step not in missing]
    pieces = compose(question, rng, family, steps, value)
    if "definition_violated" in errors:
        _insert(pieces, "definition_violated", _violation(question, family, rng), rng)
    if "outdated_criterion" in errors:
        says = pick(rng, pick(rng, outdated(question.task)))
        _insert(pieces, "outdated_criterion", fill(pick(rng, wordings(family)["outdated"]), outdated=says), rng)
    if "contradiction" in errors:
        _contradict(pieces, question, value, family, rng)
    events = {name: name in steps or name in errors for name in EVENTS}
    if value != question.value:
        sound = analysed(question.about, question.value, question.facts, claims(question, value))
        events["image_features"] = events["image_features"] and sound
        events["options_eliminated"] = False
    integrity, knowledge = score(events)
    return Made(join(pieces), events, integrity, knowledge)


def _violation(question: Question, family: str, rng: np.random.Generator) -> str:
    values = list(question.about.values.values())
    term = pick(rng, [value for value in values if value.key != question.value])
    means = pick(rng, pick(rng, [value for value in values if value is not term]).means)
    return fill(pick(rng, wordings(family)["knowledge_cited"]), term=term.name, means=means)


def _contradict(pieces: Pieces, question: Question, value: str, family: str, rng: np.random.Generator) -> None:
    words = wordings(family)
    shown = next((at for at, (role, _) in enumerate(pieces) if role == "image_features"), None)
    plain = question.about.attribute is not None or value == question.value
    if shown is not None and plain and rng.random() < 0.5:
        text = fill(pick(rng, words["contradiction_finding"]), other=_other_finding(question, value, rng))
        _insert(pieces, "contradiction", text, rng, first=shown + 1)
    else:
        text = fill(pick(rng, words["contradiction_option"]), letter=question.letter_of(value),
                    option=question.name_of(value))
        _insert(pieces, "contradiction", text, rng)


def _other_finding(question: Question, value: str, rng: np.random.Generator) -> str:
    """A finding that excludes one which the chain's image step states."""
    kind = question.about
    if kind.attribute is not None:
        return question.name_of(pick(rng, [key for key in kind.values if key != value]))
    name = required(kind, question.value, question.facts)[0][0]
    others: list[Any] = [key for key in kinds(question.task)[name].values if key != question.facts[name]]
    return finding(question.task, name, pick(rng, others))


def _insert(pieces: Pieces, role: str, text: str, rng: np.random.Generator, first: int = 0) -> None:
    """At any place before the closing words, not before `first`."""
    last = len(pieces) - (bool(pieces) and pieces[-1][0] == "closing")
    pieces.insert(int(rng.integers(first, last + 1)), (role, text))
