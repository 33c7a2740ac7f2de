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

from dataclasses import dataclass

from rewards.types import LETTERS
from tasks.phantom import lexicon
from tasks.phantom.defects import EVENTS
from tasks.phantom.knowledge import analysed, evaluate, kinds
from tasks.phantom.lexicon import Token
from tasks.phantom.questions import Question
from tasks.phantom.sentences import Notes, Place, sentences, understood

MAX_CHARS = 20_000
"""Text beyond this is not read, and the reader says so."""


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
    notes = Notes(question)
    if len(text) > MAX_CHARS:
        notes.unread.append((MAX_CHARS, len(text)))
    words = lexicon.for_question(question.task, question.options)
    for start, end in sentences(text[:MAX_CHARS]):
        tokens = words.tokens(text, start, end)
        asks = text[end : end + 1] == "?"  # a question claims nothing
        if tokens and (asks or not understood(tokens, notes)):
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


def _holds(reason: Token, question: Question) -> bool:
    known = kinds(question.task)
    return any(evaluate(known[kind], question.facts) == value for kind, value in reason.refs)


def _image(notes: Notes) -> list[Place]:
    question = notes.question
    claimed = [(name, value) for name, value, _ in notes.claims]
    if not analysed(question.about, question.value, question.facts, claimed):
        return []
    return list(dict.fromkeys(place for *_, place in notes.claims))


def _eliminated(notes: Notes) -> list[Place]:
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


def _contradictions(notes: Notes, answer: str | None) -> list[Place]:
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
