"""Reasoning about a phantom question as a chain of separable steps, in several wordings.

>>> import numpy as np
>>> from tasks.phantom.questions import ask
>>> question = ask("ct", np.random.default_rng(3))[1][0]
>>> chain = gold(question, np.random.default_rng(0))
>>> [span.role for span in chain.spans]
['image_features', 'knowledge_cited', 'options_eliminated']

The three integrity steps are named as in `rewards/rubrics/process.toml`. The elimination step walks through *all*
options one by one: for a tiny model that turns the choice into a local copy ("A) smooth margin: no. B) ...: yes.").
`compose` also takes claims that are not true, for teachers with a flaw; what is wrong with a chain is recorded by
whoever asks for it (`tasks.phantom.defects`, `tasks.phantom.teacher`), never guessed here.

Needs numpy. Must not import torch or anything of `bench`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from rewards.types import LETTERS
from tasks.phantom.knowledge import ATLAS, finding, required
from tasks.phantom.questions import Question

STEPS = ("image_features", "knowledge_cited", "options_eliminated")
"""The three integrity steps, in the order of the compact wording."""

FAMILIES = ("compact", "plain", "heldout")
"""Wording families of `atlas/wordings.toml`; `heldout` is for tests of the rule reader."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a step or a defect stands: `text[start:end]` of the chain. `role` is a step, an event name or "closing"."""

    role: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Chain:
    """The inner text of a think block and its spans in order."""

    text: str
    spans: tuple[Span, ...]

    def parts(self, role: str) -> list[str]:
        """The texts of all spans of one role."""
        return [self.text[span.start : span.end] for span in self.spans if span.role == role]


Pieces = list[tuple[str, str]]
"""Role and sentence(s), in order."""


def gold(question: Question, rng: np.random.Generator, family: str = "compact") -> Chain:
    """A complete and correct chain."""
    return join(compose(question, rng, family))


def target(chain: Chain, question: Question, value: str | None = None) -> str:
    """The completion in the paper's form; `value` is the answered value, None for the right one."""
    key = question.value if value is None else value
    return f"<think>{chain.text}</think><answer>{question.letter_of(key)}) {question.name_of(key)}</answer>"


def compose(question: Question, rng: np.random.Generator, family: str = "compact", steps: Sequence[str] = STEPS,
            value: str | None = None) -> Pieces:
    """The pieces of a chain with the given steps, in an order that the family allows.

    `value` is the value that the chain argues for: None for the true one; another one makes image claims, rule and
    elimination all follow the error.
    """
    words = wordings(family)
    key = question.value if value is None else value
    order = pick(rng, words["orders"])
    pieces = [(step, _STEP[step](question, key, words, rng)) for step in order if step in steps]
    closing = pick(rng, words["closing"])
    if closing:
        pieces.append(("closing", fill(closing, letter=question.letter_of(key), option=question.name_of(key))))
    return pieces


def join(pieces: Pieces) -> Chain:
    """Pieces as one text with spans."""
    spans, at = [], 0
    for role, text in pieces:
        spans.append(Span(role, at, at + len(text)))
        at += len(text) + 1
    return Chain(" ".join(text for _, text in pieces), tuple(spans))


def claims(question: Question, key: str) -> list[tuple[str, str]]:
    """Facts (attribute, value) that a complete image analysis states when the value is `key`.

    For the true value these are facts of the image. For another value of a kind that names one fact, that value is
    claimed; of a derived kind, findings that its rule asks for.
    """
    kind = question.about
    if kind.attribute is not None:
        return [(kind.attribute, key)]
    if key == question.value:
        names = [alternatives[0] for alternatives in required(kind, key, question.facts)]
        return [(name, question.facts[name]) for name in names]
    wanted = kind.values[key].when
    named = [entry.split("|")[0] for entry in kind.values[key].cites]
    return [(name, _asked_for(wanted, name, question.facts)) for name in named]


def pick(rng: np.random.Generator, items: Sequence[Any]) -> Any:
    """One item, uniformly."""
    return items[int(rng.integers(len(items)))]


def fill(template: str, **slots: str) -> str:
    """The template with its slots, first letter upper case unless it starts with an option."""
    text = template.format(**slots)
    return text[:1].upper() + text[1:]


@cache
def wordings(family: str) -> Mapping[str, Any]:
    """The wordings of one family. Raises ValueError for an unknown one."""
    table = tomllib.loads((ATLAS / "wordings.toml").read_text(encoding="utf-8"))
    if family not in table:
        raise ValueError(f"unknown wording family {family!r}, expected one of {', '.join(table)}")
    return table[family]  # type: ignore[no-any-return]


def _asked_for(wanted: Mapping[str, Sequence[Any]], attribute: str, facts: Mapping[str, Any]) -> str:
    allowed = wanted.get(attribute, ())
    return facts[attribute] if not allowed or facts[attribute] in allowed else str(allowed[0])


def _image(question: Question, key: str, words: Mapping[str, Any], rng: np.random.Generator) -> str:
    found = [finding(question.task, name, value) for name, value in claims(question, key)]
    compact = len(words["image_features"]) == 1
    text = ", ".join(found) if compact or len(found) == 1 else ", ".join(found[:-1]) + " and " + found[-1]
    return fill(pick(rng, words["image_features"]), claims=text)


def _rule(question: Question, key: str, words: Mapping[str, Any], rng: np.random.Generator) -> str:
    means = question.about.values[key].means
    chosen = means[0] if len(words["knowledge_cited"]) == 1 else pick(rng, means)
    return fill(pick(rng, words["knowledge_cited"]), means=chosen, term=question.name_of(key))


def _elimination(question: Question, key: str, words: Mapping[str, Any], rng: np.random.Generator) -> str:
    style = pick(rng, words["elimination"])
    value = question.name_of(key)
    lines = [fill(style["lead"], value=value)] if style["lead"] else []
    for letter, choice in zip(LETTERS, question.choices, strict=False):
        form = style["yes"] if choice == key else style["no"]
        lines.append(fill(form, letter=letter, option=question.name_of(choice), value=value))
    return " ".join(lines)


_STEP: Mapping[str, Callable[[Question, str, Mapping[str, Any], np.random.Generator], str]] = {
    "image_features": _image, "knowledge_cited": _rule, "options_eliminated": _elimination,
}  # fmt: skip
