"""What one sentence of a chain does: states a finding, quotes a criterion, accepts or refuses options, or none of it.

>>> from tasks.phantom.questions import ask
>>> import numpy as np
>>> question = ask("ct", np.random.default_rng(3), only=["margin"])[1][0]
>>> notes = Notes(question)
>>> tokens = lexicon.for_question("ct", question.options).tokens("The image shows spiculated margin")
>>> understood(tokens, notes), notes.claims[0][:2]
(True, ('margin', 'spiculated'))

A sentence is understood whole or not at all: every word of it must belong to the role that it plays. Verdicts on
options are read clause by clause; a verdict word inside a reason ("because that fits better") is none. What the notes
amount to is for `tasks.phantom.reader` to say. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rewards.types import LETTERS
from tasks.phantom import lexicon
from tasks.phantom.knowledge import kinds
from tasks.phantom.lexicon import Token
from tasks.phantom.questions import Question

Place = tuple[int, int]
"""Start and end in the chain."""


@dataclass(slots=True)
class Verdict:
    """What one clause says of one option. `quoted` is False when the text beside the letter is not that option's."""

    letter: str
    accepts: bool
    reasons: list[Token]
    quoted: bool
    place: Place


@dataclass(slots=True)
class Notes:
    """What the sentences of one chain said, role by role, with places."""

    question: Question
    claims: list[tuple[str, str, Place]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    cited: list[Place] = field(default_factory=list)
    violations: list[Place] = field(default_factory=list)
    superseded: list[Place] = field(default_factory=list)
    unread: list[Place] = field(default_factory=list)
    lead: list[Token] = field(default_factory=list)

    def option(self, letter: str) -> str | None:
        """Option text of a letter in plain form, None for a letter that is not offered."""
        at = LETTERS.index(letter)
        return lexicon.plain(self.question.options[at]) if at < len(self.question.options) else None


_END = re.compile(r"[.;!?](?=\s|$)|\n")


def sentences(text: str) -> Iterator[Place]:
    """Start and end of each sentence, without its closing mark."""
    start = 0
    for match in _END.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def understood(tokens: list[Token], notes: Notes) -> bool:
    """Read one sentence into the notes; False when any of it is not understood."""
    present = {token.kind for token in tokens}
    if "letter" in present:
        return not present & {"means", "outdated"} and _options(tokens, notes)
    notes.lead = []
    words = {token.text for token in tokens if token.kind == "word"}
    if present & {"means", "outdated"} and words & (lexicon.KNOWLEDGE | lexicon.LINKED):
        return _knowledge(tokens, words, notes)
    if words - lexicon.NEUTRAL - lexicon.IMAGE - {":", "can", "answer", "diagnosis", "conclusion", "choose"}:
        return _lead(tokens, words, notes)
    if present & {"term", "means"}:
        return _statement(tokens, words, notes)
    return True


def _lead(tokens: list[Token], words: set[str], notes: Notes) -> bool:
    """A line like "Compared with V:" or "V in mind, ..." that gives the reason for the options after it."""
    terms = [token for token in tokens if token.kind == "term"]
    if len(terms) != sum(token.kind != "word" for token in tokens) or tokens[-1].text != ":":
        return False
    if words - lexicon.NEUTRAL - lexicon.WEIGHING - lexicon.IMAGE - lexicon.REASONING - {":"}:
        return False
    notes.lead = terms
    return True


def _statement(tokens: list[Token], words: set[str], notes: Notes) -> bool:
    """What the image shows, or a conclusion that names an option without its letter."""
    place = (tokens[0].start, tokens[-1].end)
    named = [token for token in tokens if token.kind in ("term", "means")]
    if words & {"answer", "diagnosis", "conclusion", "choose"}:
        letters = [letter for letter, option in zip(LETTERS, notes.question.options, strict=False)
                   if any(token.text == lexicon.plain(option) for token in named)]
        if len(letters) == 1:
            notes.verdicts.append(Verdict(letters[0], True, [], True, place))
        return len(letters) == 1 and len(named) == 1
    if not words & lexicon.IMAGE and "there" not in words:
        return False
    known = kinds(notes.question.task)
    for token in named:
        notes.claims += [(kind, value, place) for kind, value in sorted(token.refs) if known[kind].attribute]
    return True


def _knowledge(tokens: list[Token], words: set[str], notes: Notes) -> bool:
    """A criterion and what it defines, or a superseded criterion."""
    if words - lexicon.NEUTRAL - lexicon.KNOWLEDGE - lexicon.LINKED:
        return False
    place = (tokens[0].start, tokens[-1].end)
    phrases = [token for token in tokens if token.kind != "word"]
    if [token.kind for token in phrases] == ["outdated"]:
        notes.superseded.append(place)
        return True
    if sorted(token.kind for token in phrases) != ["means", "term"]:
        return False
    shared = phrases[0].refs & phrases[1].refs
    about = notes.question.about
    if not shared:
        notes.violations.append(place)
    elif any(kind == about.name or kind in about.uses for kind, _ in shared):
        notes.cited.append(place)
    return True


def _options(tokens: list[Token], notes: Notes) -> bool:
    """Clauses about lettered options, after an optional lead that holds for all of them."""
    starts = []
    for at, token in enumerate(tokens):
        if token.kind == "letter":
            named_before = at > 0 and tokens[at - 1].kind == "term" and token.end - token.start == 3
            starts.append(at - 1 if named_before else at)
    head = tokens[: starts[0]]
    if head and head[-1].text == ":":
        if not _lead(head, {token.text for token in head if token.kind == "word"}, notes):
            return False
    else:
        starts[0] = 0
    clauses = [tokens[start:end] for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True)]
    found = [_clause(clause, notes) for clause in clauses]
    if None in found:
        return False
    notes.verdicts += [verdict for verdict in found if verdict]
    return True


_ALWAYS = lexicon.NEUTRAL | lexicon.WEIGHING | lexicon.IMAGE | {":"}
_RELATING = lexicon.ACCEPTED | {"contradicts", "conflicts", "disagrees", "unlike", "inconsistent", "incompatible"}
_CONCLUDING = frozenset({"so", "thus", "hence", "therefore"})


def _clause(tokens: list[Token], notes: Notes) -> Verdict | None:
    """One option's verdict and reasons, or None when the clause is not understood."""
    at = next(i for i, token in enumerate(tokens) if token.kind == "letter")
    letter = tokens[at].text
    quote = next((i for i in (at + 1, at - 1) if 0 <= i < len(tokens) and tokens[i].kind == "term"), None)
    verdicts: set[bool] = set()
    reasons: list[Token] = []
    in_reason = negated = False
    for i, token in enumerate(tokens):
        if i in (at, quote):
            in_reason = False
        elif token.kind == "term":
            reasons.append(token)
        elif token.text in lexicon.REASONING:
            in_reason = True
        elif in_reason:
            if token.text not in _ALWAYS | _RELATING:
                return None
        elif token.text in lexicon.NEGATING:
            negated = True
        elif token.text in lexicon.ACCEPTED:
            verdicts.add(not negated)
            negated = False
        elif token.text in lexicon.REFUSED:
            if negated:
                return None
            verdicts.add(False)
        elif token.text not in _ALWAYS:
            return None
    words = {token.text for token in tokens if token.kind == "word"}
    if not verdicts and not reasons and words & _CONCLUDING:
        verdicts = {True}
    if negated or len(verdicts) != 1:
        return None
    quoted = quote is None or tokens[quote].text == notes.option(letter)
    return Verdict(letter, verdicts.pop(), reasons or notes.lead, quoted, (tokens[0].start, tokens[-1].end))
