"""Multiple-choice questions about a phantom image whose text tells nothing about the answer.

>>> import numpy as np
>>> facts, asked = ask("derm", np.random.default_rng(0))
>>> asked[0].options[asked[0].answer_index] == asked[0].name_of(asked[0].value)
True

Why it is balanced, by construction and not by repair:
1. An image has one or two *lead* kinds that share no fact. Their true values are drawn uniformly first, then facts
   are drawn until they give them.
2. The other kinds of the image are *companions*: their values are uniform under `facts.sample_facts`, and they share
   no fact with a lead, so that the leads' choice leaves them uniform.
3. Wrong options are drawn uniformly from the kind's other values, and the options are shuffled.
So for every kind, every option of every option set is right equally often; so are letters, lengths and wordings.
A kind with a constant answer ("Which modality is this?" inside one task) cannot be balanced and is therefore not
asked; the question type Modality Recognition is asked of histology, whose stain varies.

Needs numpy. Must not import torch or anything of `bench`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from rewards.types import LETTERS
from tasks.phantom.facts import sample_facts, to_dict
from tasks.phantom.knowledge import Kind, evaluate, kinds

OPTIONS = 4
"""Options offered by default; a kind with fewer values offers all of them."""

SECOND_LEAD = 0.5
"""Probability of a second lead where one is left."""

MAX_TRIES = 100_000
"""Draws of facts before a value is declared impossible; the rarest one needs about 600."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one image: the true `value`, the offered `choices` (value keys in option order), `facts`.

    `wording` picks one of the kind's question texts.
    """

    task: str
    kind: str
    value: str
    choices: tuple[str, ...]
    facts: Mapping[str, Any]
    wording: int = 0

    @property
    def about(self) -> Kind:
        """The kind that is asked."""
        return kinds(self.task)[self.kind]

    @property
    def text(self) -> str:
        """The question."""
        return self.about.ask[self.wording % len(self.about.ask)]

    @property
    def options(self) -> tuple[str, ...]:
        """Option texts without letters."""
        return tuple(self.name_of(key) for key in self.choices)

    @property
    def answer_index(self) -> int:
        """Index of the right option."""
        return self.choices.index(self.value)

    @property
    def needed(self) -> int:
        """Wrong options that must be ruled out for the elimination step: two, or one where there is only one."""
        return min(2, len(self.choices) - 1)

    def name_of(self, key: str) -> str:
        """Option text of a value."""
        return self.about.values[key].name

    def letter_of(self, key: str) -> str:
        """Letter of an offered value."""
        return LETTERS[self.choices.index(key)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: what `from_dict` needs beside the facts."""
        return {"kind": self.kind, "value": self.value, "choices": list(self.choices), "wording": self.wording}


def from_facts(facts: Mapping[str, Any]) -> Question:
    """The question that `Sample.facts` of the phantom suite carries.

    Raises:
        ValueError: these are no phantom facts with a question.
    """
    try:
        asked = facts["question"]
        bare = {name: value for name, value in facts.items() if name not in ("question", "drawn")}
        found = Question(facts["modality"], asked["kind"], asked["value"], tuple(asked["choices"]), bare,
                         asked["wording"])
        if evaluate(found.about, bare) != found.value or found.value not in found.choices:
            raise ValueError(f"the facts do not give the value {found.value!r} for {found.kind!r}")
    except (KeyError, TypeError) as problem:
        raise ValueError(f"no phantom facts with a question: {problem!r}") from problem
    return found


def ask(task: str, rng: np.random.Generator, options: int = OPTIONS,
        only: Collection[str] | None = None) -> tuple[dict[str, Any], list[Question]]:
    """Facts of one image and two or three questions about it (fewer where no kind is left), leads first.

    `options` in 2 to 5; `only` restricts the kinds.
    """
    known = [kind for name, kind in kinds(task).items() if only is None or name in only]
    leads = [_lead(known, rng)]
    others = [kind for kind in known if not kind.companion and not kind.uses & leads[0].uses]
    if others and rng.random() < SECOND_LEAD:
        leads.append(_lead(others, rng))
    facts = _facts([(lead, _pick(rng, tuple(lead.values))) for lead in leads], rng)
    companions = [kind for kind in known
                  if kind.companion and kind not in leads and evaluate(kind, facts) is not None
                  and not any(kind.uses & (lead.uses - set(kind.where)) for lead in leads)]
    wanted = 2 + int(rng.integers(2)) - len(leads)
    chosen = [companions[i] for i in rng.permutation(len(companions))[:wanted].tolist()]
    return facts, [_question(kind, facts, options, rng) for kind in (*leads, *chosen)]


def _lead(known: Sequence[Kind], rng: np.random.Generator) -> Kind:
    """Kinds that can offer four options, among them most that combine facts, come three times as often."""
    return _pick(rng, [kind for kind in known for _ in range(1 if len(kind.values) < OPTIONS else 3)])


def _pick(rng: np.random.Generator, items: Sequence[_T]) -> _T:
    return items[int(rng.integers(len(items)))]


def _facts(wanted: Sequence[tuple[Kind, str]], rng: np.random.Generator) -> dict[str, Any]:
    for _ in range(MAX_TRIES):
        facts = to_dict(sample_facts(wanted[0][0].task, rng))
        if all(evaluate(kind, facts) == value for kind, value in wanted):
            return facts
    raise RuntimeError(f"no facts in {MAX_TRIES:,} draws give {[(kind.name, value) for kind, value in wanted]}: the "
                       "atlas and the sampler of facts disagree")


def _question(kind: Kind, facts: Mapping[str, Any], options: int, rng: np.random.Generator) -> Question:
    value = evaluate(kind, facts)
    if value is None:
        raise ValueError(f"{kind.name} is not asked of these facts")
    others = [key for key in kind.values if key != value]
    wrong = [others[i] for i in rng.permutation(len(others))[: min(options, len(kind.values)) - 1].tolist()]
    offered = [value, *wrong]
    choices = tuple(offered[i] for i in rng.permutation(len(offered)).tolist())
    return Question(kind.task, kind.name, value, choices, facts, int(rng.integers(len(kind.ask))))
