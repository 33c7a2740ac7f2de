"""What the rule reader can read: the phrases of one question, and the small words of each role.

>>> lexicon = for_question("ct", ("smooth margin", "spiculated margin"))
>>> [token.kind for token in lexicon.tokens("Rule: spikes at the rim = spiculated margin")]
['word', 'word', 'means', 'word', 'term']

Phrases (names of values, criteria, superseded criteria) come from the atlas and are matched whole, longest first; a
word inside one is never read on its own. The word lists are closed on purpose: a sentence with any other word is not
understood, and the reader then says so. They name roles, not wordings: no template of `atlas/wordings.toml` is known
here. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

from tasks.phantom.knowledge import kinds, outdated

Refs = frozenset[tuple[str, str]]
"""(kind, value) pairs that a phrase stands for."""

Role = Literal["term", "means", "outdated"]
"""What a phrase is: the name of a value, a criterion, a superseded criterion."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEUTRAL = _words("""
    a an the this that these it its is are was be been being here there where of in on at to for with and or but yet
    also still then so thus hence therefore too now one i we my our which who what as by from all both only more most
    image picture photograph photo scan slice section slide field tissue lung retina lesion eye patient case
    option options choice choices question
""")
"""Words that carry no role; "no", "not", "without" and hedges are deliberately absent."""

IMAGE = _words("""
    see sees seen show shows shown showing visible observe observed observes find finds found finding findings look
    looks looking display displays displayed reveal reveals revealed present image picture photograph photo scan slice
    section slide inspection examination appearance appears appear feature features
""")
"""Words that mark a statement about the image."""

KNOWLEDGE = _words("""
    = : rule definition defined define defines means mean meaning indicates indicate signifies signify denotes denote
    stands stand called known knowledge criterion criteria textbook textbooks medicine medical hallmark sign signs
    characteristic characterises implies imply corresponds equals states state literature term
""")
"""Words that mark a statement of medical knowledge, or link a criterion with what it defines."""

LINKED = _words("""
    every each any always general generally when if speaks speak doctors pathologists radiologists use used read
    according
""")
"""Further words allowed in a statement of knowledge."""

ACCEPTED = _words("""
    yes fits fit fitting matches match matching remains remain stays stay accepted accept keep kept correct right true
    agrees agree consistent compatible supported plausible acceptable holds hold choose chosen choice answer answers
    conclusion leaves left selected select
""")
"""Verdicts for an option."""

REFUSED = _words("""
    no excluded exclude excludes rejected reject rejects eliminated eliminate ruled out wrong false incorrect unlike
    drops dropped discarded discard dismissed dismiss contradicts contradicted disagrees disagree conflicts
    inconsistent incompatible implausible unsupported unacceptable against fails fail
""")
"""Verdicts against an option."""

NEGATING = _words("not cannot never neither nor doesn't isn't can't won't")
"""Words that turn the verdict which follows."""

REASONING = _words("because since as given for considering by due with")
"""Words that begin a reason; a verdict word after one belongs to the reason."""

WEIGHING = _words("""
    checking check checked against compared compare comparing comparison weighed weighing weigh mind with going through
    look looking at turn turning options one does do did can could be must have has had than rather instead better
    would were
""")
"""Further words allowed around options."""


@dataclass(frozen=True, slots=True)
class Token:
    """One unit of a sentence: `kind` says which; `refs` are the (kind, value) pairs of a term or criterion.

    "letter" carries the option letter in `text`; "word" is in lower case; positions are those of the chain.
    """

    kind: Literal["letter", "term", "means", "outdated", "word"]
    text: str
    start: int
    end: int
    refs: Refs = frozenset()


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The phrases that can stand in a chain about one question."""

    pattern: re.Pattern[str]
    phrases: Mapping[str, tuple[Role, Refs]]

    def tokens(self, text: str, start: int = 0, end: int | None = None) -> list[Token]:
        """Tokens of `text[start:end]`; punctuation other than ":" and "=" is left out."""
        found = []
        for match in self.pattern.finditer(text, start, len(text) if end is None else end):
            raw = match.group()
            if match.lastgroup == "letter":
                found.append(Token("letter", raw.rstrip(") ")[-1], match.start(), match.end()))
            elif match.lastgroup == "phrase":
                role, refs = self.phrases[plain(raw)]
                found.append(Token(role, plain(raw), match.start(), match.end(), refs))
            else:
                found.append(Token("word", raw.lower(), match.start(), match.end()))
        return found


_LETTER = r"\b[Oo]ption\s+\(?[A-J]\b\)?|\([A-J]\)|\b[A-J]\)|(?<=answer is )[A-J]\b|(?<=leaves )[A-J]\b"
_WORD = r"[A-Za-z]+(?:['’-][A-Za-z]+)*|\d+(?:[.,]\d+)*|[=:]|[^\s.,;!?()\"'“”‘’–—-]"


def for_question(task: str, options: tuple[str, ...]) -> Lexicon:
    """The lexicon of a task; option texts are terms even where the atlas does not name them."""
    return _lexicon(task, tuple(sorted({plain(option) for option in options} - _named(task))))


@cache
def _named(task: str) -> frozenset[str]:
    return frozenset(plain(value.name) for kind in kinds(task).values() for value in kind.values.values())


@lru_cache(maxsize=32)
def _lexicon(task: str, further: tuple[str, ...]) -> Lexicon:
    refs: dict[tuple[str, Role], set[tuple[str, str]]] = {(option, "term"): set() for option in further}
    for kind in kinds(task).values():
        for value in kind.values.values():
            refs.setdefault((plain(value.name), "term"), set()).add((kind.name, value.key))
            for means in value.means:
                refs.setdefault((plain(means), "means"), set()).add((kind.name, value.key))
    for wordings in outdated(task):
        for says in wordings:
            refs.setdefault((plain(says), "outdated"), set())
    phrases: dict[str, tuple[Role, Refs]] = {text: (role, frozenset(pairs)) for (text, role), pairs in refs.items()}
    longest_first = "|".join(_phrase(text) for text in sorted(phrases, key=len, reverse=True))
    return Lexicon(re.compile(f"(?P<letter>{_LETTER})|(?P<phrase>{longest_first})|(?P<word>{_WORD})"), phrases)


def plain(text: str) -> str:
    """Lower case with single blanks."""
    return " ".join(text.lower().split())


def _phrase(text: str) -> str:
    body = r"\s+".join(re.escape(word) for word in text.split())
    return rf"(?i:(?<![\w-]){body}(?![\w-]))"
