"""Reads a chain of reasoning against the facts of its image: which steps are there, which errors.

>>> import numpy as np
>>> from tasks.phantom.chains import gold
>>> from tasks.phantom.questions import ask
>>> question = ask("ct", np.random.default_rng(3))[1][0]
>>> read(gold(question, np.random.default_rng(0)).text, question).events["options_eliminated"]
True

Roles decide, not words: naming an option while refusing it is no claim about the image, and a finding given as a
reason is no image analysis. What each event needs:
- image_features: every finding that the answer rests on is stated of the image as it is, and none only as it is not
  (a false statement about the image is no analysis of it; beside the true one it is a contradiction);
- options_eliminated: two wrong options (one, where only one is wrong) are refused, each for a reason that holds;
- knowledge_cited: a criterion of this question or of a finding it rests on is stated correctly;
- definition_violated: a value is given the criterion of another value;
- contradiction: two values of one finding, an option both accepted and refused, two accepted options, an accepted
  option that is not the one the chain argued for, or an answer that the chain does not lead to;
- outdated_criterion: a superseded criterion of the atlas is used.
A sentence that is not wholly understood makes absence uncertain: then every event not found is None, "cannot tell".
What was found stays found. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rewards.types import LETTERS
from tasks.phantom import lexicon
from tasks.phantom.defects import EVENTS
from tasks.phantom.knowledge import analysed, evaluate, kinds
from tasks.phantom.lexicon import Token
from tasks.phantom.questions import Question

MAX_CHARS = 20_000
"""Text beyond this is not read, and the reader says so."""

Place = tuple[int, int]
"""Start and end in the chain."""


@dataclass(frozen=True, slots=True)
class Reading:
    """`events[name]` is True, False or None (cannot tell); `evidence` the places that decide the True ones.

    `unread` are the sentences that were not understood.
    """

    events: dict[str, bool | None]
    evidence: dict[str, list[Place]]
    unread: list[Place]

    @property
    def certain(self) -> bool:
        """Whether every event could be told."""
        return None not in self.events.values()


def read(text: str, question: Question, answer: str | None = None) -> Reading:
    """The events of the chain `text` about `question`; `answer` is the letter given after it, None to leave it out."""
    notes = _Notes(question)
    if len(text) > MAX_CHARS:
        notes.unread.append((MAX_CHARS, len(text)))
    words = lexicon.for_question(question.task, question.options)
    for start, end in _sentences(text[:MAX_CHARS]):
        tokens = words.tokens(text, start, end)
        asks = text[end : end + 1] == "?"  # a question claims nothing
        if tokens and (asks or not _understood(tokens, notes)):
            notes.lead = []
            notes.unread.append((start, end))
    evidence = {
        "image_features": _image(notes), "options_eliminated": _eliminated(notes), "knowledge_cited": notes.cited,
        "definition_violated": notes.violations, "contradiction": _contradictions(notes, answer),
        "outdated_criterion": notes.superseded,
    }  # fmt: skip
    events: dict[str, bool | None] = {name: True if evidence[name] else (None if notes.unread else False)
                                      for name in EVENTS}
    return Reading(events, evidence, notes.unread)


@dataclass(slots=True)
class _Verdict:
    """What one clause says of one option. `quoted` is False when the text beside the letter is not that option's."""

    letter: str
    accepts: bool
    reasons: list[Token]
    quoted: bool
    place: Place


@dataclass(slots=True)
class _Notes:
    question: Question
    claims: list[tuple[str, str, Place]] = field(default_factory=list)
    verdicts: list[_Verdict] = field(default_factory=list)
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


def _sentences(text: str) -> Iterator[Place]:
    start = 0
    for match in _END.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _understood(tokens: list[Token], notes: _Notes) -> bool:
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


def _lead(tokens: list[Token], words: set[str], notes: _Notes) -> bool:
    """A line like "Compared with V:" or "V in mind, ..." that gives the reason for the options after it."""
    terms = [token for token in tokens if token.kind == "term"]
    if len(terms) != sum(token.kind != "word" for token in tokens) or tokens[-1].text != ":":
        return False
    if words - lexicon.NEUTRAL - lexicon.WEIGHING - lexicon.IMAGE - lexicon.REASONING - {":"}:
        return False
    notes.lead = terms
    return True


def _statement(tokens: list[Token], words: set[str], notes: _Notes) -> bool:
    """What the image shows, or a conclusion that names an option without its letter."""
    place = (tokens[0].start, tokens[-1].end)
    named = [token for token in tokens if token.kind in ("term", "means")]
    if words & {"answer", "diagnosis", "conclusion", "choose"}:
        letters = [letter for letter, option in zip(LETTERS, notes.question.options, strict=False)
                   if any(token.text == lexicon.plain(option) for token in named)]
        if len(letters) == 1:
            notes.verdicts.append(_Verdict(letters[0], True, [], True, place))
        return len(letters) == 1 and len(named) == 1
    if not words & lexicon.IMAGE and "there" not in words:
        return False
    known = kinds(notes.question.task)
    for token in named:
        notes.claims += [(kind, value, place) for kind, value in sorted(token.refs) if known[kind].attribute]
    return True


def _knowledge(tokens: list[Token], words: set[str], notes: _Notes) -> bool:
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


def _options(tokens: list[Token], notes: _Notes) -> bool:
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


def _clause(tokens: list[Token], notes: _Notes) -> _Verdict | None:
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
    return _Verdict(letter, verdicts.pop(), reasons or notes.lead, quoted, (tokens[0].start, tokens[-1].end))


def _holds(reason: Token, question: Question) -> bool:
    known = kinds(question.task)
    return any(evaluate(known[kind], question.facts) == value for kind, value in reason.refs)


def _image(notes: _Notes) -> list[Place]:
    question = notes.question
    claimed = [(name, value) for name, value, _ in notes.claims]
    if not analysed(question.about, question.value, question.facts, claimed):
        return []
    return list(dict.fromkeys(place for *_, place in notes.claims))


def _eliminated(notes: _Notes) -> list[Place]:
    question = notes.question
    accepted = {verdict.letter for verdict in notes.verdicts if verdict.accepts}
    places: dict[str, Place] = {}
    for verdict in notes.verdicts:
        own = notes.option(verdict.letter)
        reasons = [reason for reason in verdict.reasons if reason.text != own]
        if (not verdict.accepts and verdict.quoted and own is not None and verdict.letter not in accepted
                and verdict.letter != LETTERS[question.answer_index]
                and reasons and all(_holds(reason, question) for reason in reasons)):
            places.setdefault(verdict.letter, verdict.place)
    return list(places.values()) if len(places) >= question.needed else []


def _contradictions(notes: _Notes, answer: str | None) -> list[Place]:
    question = notes.question
    found: list[Place] = []
    values: dict[str, str] = {}
    for name, value, place in notes.claims:
        if values.setdefault(name, value) != value:
            found.append(place)
    said = [verdict for verdict in notes.verdicts if verdict.quoted and notes.option(verdict.letter) is not None]
    accepted = {verdict.letter for verdict in said if verdict.accepts}
    refused = {verdict.letter for verdict in said if not verdict.accepts}
    for verdict in said:
        argued = {value for reason in verdict.reasons for kind, value in reason.refs if kind == question.kind}
        own = question.choices[LETTERS.index(verdict.letter)]
        both = verdict.letter in accepted & refused
        against_reason = bool(argued - {own}) if verdict.accepts else own in argued
        if both or against_reason or (verdict.accepts and len(accepted) > 1):
            found.append(verdict.place)
    shown = values.get(question.about.attribute or "")
    concluded = {question.choices[LETTERS.index(letter)] for letter in accepted}
    if shown is not None and concluded and shown not in concluded:
        found += [verdict.place for verdict in said if verdict.accepts]
    if answer is not None and LETTERS.index(answer) < len(question.choices):
        given = question.choices[LETTERS.index(answer)]
        if (accepted and answer not in accepted) or answer in refused:
            found += [verdict.place for verdict in said]
        elif shown is not None and shown != given:
            found += [place for name, _, place in notes.claims if name == question.about.attribute]
    return list(dict.fromkeys(found))
