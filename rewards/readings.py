r"""What a short text says about the options: one option, or None and the reason. The heart of the `letter` contract.

>>> options = prepared(("Adenoma", "Normal colon"))
>>> read_answer("**B**", options), read_answer(r"\boxed{B) normal colon.}", options), read_answer("A or B", options)
((1, None), (1, None), (None, 'no option named'))

A letter counts when it stands alone or as a label ("B.", "(b)", "Option B", `{"answer": "B) ..."}`), and the text
after a label has to be that option's. Without a letter the full text of exactly one option counts.
Standard library only.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rewards.types import LETTERS

_PARTIAL_TAG = re.compile(r"</?[a-zA-Z]{0,6}\Z")
_TAIL = 4_000
"""Characters from the end in which a closing statement is looked for."""

_LABEL = re.compile(
    r"(?P<open>[(\[{]\s{0,2})?(?P<letter>[A-Za-z])(?P<close>\s{0,2}[)\]}])?"
    r"(?P<mark>\s{0,3}[.:,!]|\s{1,3}[-–](?=\s|$)|\s{0,3}—)?(?P<rest>\s.*|(?<=[)\]}.:,!—]).*|)\Z",
    re.DOTALL,
)
_LEAD = re.compile(
    r"(?:(?:so|thus|therefore|hence|finally|overall|consequently|in conclusion|in summary)\b\s{0,3},?\s{1,3})?"
    r"(?:(?:the|my|our)\s{1,3})?(?:(?:final|correct|best|right|most likely|most appropriate)\s{1,3}){0,2}"
    r"(?:answer|option|choice)\b\s{0,3}(?:(?:is|would be|should be|must be)\b)?\s{0,3}[:=]?\s{0,3}",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?:\A|[.!?;]\s{1,3})(?=[A-Za-z])")
_CLAUSE = re.compile(r"(?:\A|[:,]\s{1,3}|\b(?P<that>that)\s{1,3})(?=[A-Za-z])")
_CONDITION = re.compile(r"\b(?:if|unless|whether|suppose|assuming|had|were|would|could|might|may)\b", re.IGNORECASE)
_DENIAL = re.compile(r"\b(?:not|never|no|cannot|unlikely|doubt|wrong|false|incorrect)\b|n['’]t\b", re.IGNORECASE)
_STATED = re.compile(
    r"\banswer\s{1,3}is\s{0,3}:?\s{0,3}(?:option\s{1,3})?[(\[]?([A-J])(?![A-Za-z'’-]| [a-z])", re.IGNORECASE
)
_AFFIRMS = re.compile(r"\s*is\s+(?:the\s+)?(?:correct|right|best)(?:\s+(?:answer|option|choice|one))?\s*[.!]?\s*\Z")
_WRAPPED = re.compile(r"\\(?:boxed|fbox|text|textbf|mathrm|mathbf)\s{0,3}\{(.*)\}\s*\.?\Z", re.DOTALL)
_FENCED = re.compile(r"```[a-zA-Z]{0,10}\s(.*?)```\Z", re.DOTALL)
_BROKEN_JSON = re.compile(
    r"\{\s*[\"']?(?:final_)?(?:answer|option|choice|letter)[\"']?\s*:\s*([^{}\[\]]{1,4000})\}\Z", re.IGNORECASE
)
_ANSWER_KEYS = frozenset({"answer", "final_answer", "final answer", "option", "choice", "letter", "label"})
_OTHER_LABEL = re.compile(r"(?<![a-z0-9.])\(?([a-j])[)\]:]|\b(?:or|and)\s+\(?([a-j])\b\s*[.)]?(?=\s*\Z|,)")
_LINE_LABEL = re.compile(r"\W{0,4}([A-Ja-j])\s{0,2}[)\].:]")
_ENDS = " \t\r\n\f\v.,;:!?\"'“”‘’_$"


@dataclass(frozen=True, slots=True)
class Options:
    """Option texts: `raw` as given, `exact` NFKC with white space collapsed, `loose` as `_loose` compares them."""

    raw: tuple[str, ...]
    exact: tuple[str, ...]
    loose: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """`index` is the option or None; `labelled` when a letter with a mark or its text said so; `lone` a bare letter."""

    index: int | None
    problem: str | None = None
    labelled: bool = False
    lone: bool = False
    exact: bool = False


@lru_cache(maxsize=8_192)
def prepared(options: tuple[str, ...]) -> Options:
    """The options in every form that is compared; only the first ten can be named by a letter."""
    texts = tuple(option if isinstance(option, str) else str(option) for option in options[: len(LETTERS)])
    exact = tuple(" ".join(unicodedata.normalize("NFKC", text).split()) for text in texts)
    return Options(texts, exact, tuple(_loose(text) for text in exact))


def read_answer(text: str, options: Options) -> tuple[int | None, str | None]:
    """The option that the inner text of an answer block names: (index, None) or (None, problem)."""
    reading = _read(text, options)
    return reading.index, reading.problem


def read_unclosed(text: str, options: Options) -> int | None:
    """An answer block that was never closed may have been cut: only a letter with its whole option text counts."""
    reading = _read(_PARTIAL_TAG.sub("", text.rstrip()), options)
    return reading.index if reading.labelled and reading.exact else None


def closing_letter(text: str, options: Options) -> tuple[int | None, str | None]:
    """Without an answer block: an explicit closing statement, or a last line that is one labelled option."""
    lines = [line for line in (line.strip(" \t#>*") for line in text[-_TAIL:].splitlines()) if line]
    if not lines:
        return None, "no answer block"
    last = lines[-1].replace("*", "")
    if len(lines) > 1 and _LEAD.fullmatch(lines[-2].replace("*", "")):
        last = f"{lines.pop(-2)} {last}"  # "Answer:" on a line of its own
    reading = _read(last, options)
    if reading.index is not None and (reading.labelled or (reading.lone and len(lines) == 1)):
        above = _LINE_LABEL.match(lines[-2]) if len(lines) > 1 else None
        if above and above[1].upper() != LETTERS[reading.index]:
            return None, "several different letters"
    else:
        reading = _closing_statement(last, options)
    if reading.index is None:
        return None, reading.problem or "no answer block"
    letter = LETTERS[reading.index]
    if any(said.upper() != letter for said in _STATED.findall(text)):
        return None, "several different letters"
    if reading.lone and last[-1].isalpha() and any(o.startswith(f"{letter.lower()} ") for o in options.loose):
        return None, "letter may be the beginning of an option"
    return reading.index, None


def _closing_statement(line: str, options: Options) -> Reading:
    """The last statement "the answer is ..." of the last line, when it closes the line and nothing before doubts it."""
    line = line[-600:]
    for start in reversed([match.end() for match in _SENTENCE.finditer(line)]):
        sentence = line[start:]
        for clause in reversed(list(_CLAUSE.finditer(sentence))):
            lead = _LEAD.match(sentence, clause.end())
            if lead and lead.end() < len(sentence):
                before = sentence[: clause.end()]
                if _CONDITION.search(before) or (clause["that"] and _DENIAL.search(before)):
                    return Reading(None, "no answer block")
                return _read(sentence[lead.end() :], options)
    return Reading(None, "no answer block")


def _read(text: str, options: Options) -> Reading:
    """One option named by a whole text, after wrappers such as **, code fences, JSON and boxes are taken off."""
    if not _loose(text):
        return Reading(None, "empty answer")
    forms, decorated, problem = _unwrap(text)
    shown = {_loose(form) for form in forms}
    matches = [index for index, option in enumerate(options.loose) if option in shown]
    reading = Reading(None, problem) if problem else _labelled(forms[-1], options, decorated)
    if not matches:
        return reading
    if reading.index is not None:
        return reading if reading.index in matches else Reading(None, "letter and text disagree")
    return Reading(matches[0]) if len(matches) == 1 else Reading(None, "text of several options")


def _labelled(text: str, options: Options, decorated: bool) -> Reading:
    """A lone or labelled letter, and the text after it, which must not name anything else."""
    found = _LABEL.match(text)
    if found is None or (found["open"] and not found["close"]):
        return Reading(None, "no option named")
    rest = found["rest"]
    marked = bool(found["close"] or found["mark"])
    affirmed = _AFFIRMS.match(rest) is not None
    alone = affirmed or not _loose(rest)
    if not marked and not alone:
        return Reading(None, "no option named")
    index = LETTERS.find(found["letter"].upper())
    if not 0 <= index < len(options.loose):
        return Reading(None, "letter not offered")
    if alone:
        return Reading(index, labelled=marked or decorated or affirmed, lone=True)
    own, given = options.loose[index], _loose(rest)
    if given == own:
        return Reading(index, labelled=True, exact=True)
    if not own or given in options.loose:
        return Reading(None, "letter and text disagree")
    if _begins(own, given):
        return Reading(index, labelled=True)
    if not _begins(given, own):
        return Reading(None, "letter and text disagree")
    extra = given[len(own) :]
    others = [a or b for a, b in _OTHER_LABEL.findall(extra)]
    if any(other.upper() != LETTERS[index] for other in others):
        return Reading(None, "several different letters")
    if any(other and other != own and _names(extra, other) for other in options.loose):
        return Reading(None, "several options named")
    return Reading(index, labelled=True)


def _unwrap(text: str) -> tuple[list[str], bool, str | None]:
    """The text with ever fewer wrappers, whether one of them says "this is my answer", and what was wrong."""
    forms, decorated = [text], False
    for _ in range(8):
        before = text
        text = text.strip()
        fence = _FENCED.match(text) if text.startswith("```") else None
        text = fence[1] if fence else text.replace("*", "").replace("`", "").strip(" \t\r\n\f\v\"'“”‘’_$")
        if text.startswith("{") and ":" in text:
            found, problem = _from_json(text)
            if found is None:
                return forms, decorated, problem
            text, decorated = found, True
            forms.append(text)
        box = _WRAPPED.match(text) if text.startswith("\\") else None
        if box:
            text, decorated = box[1], True
            forms.append(text)
        lead = _LEAD.match(text)
        if lead and lead.end() < len(text):
            text, decorated = text[lead.end() :], True
            forms.append(text)
        if text == before:
            break
    return [*forms, text], decorated, None


def _from_json(text: str) -> tuple[str | None, str | None]:
    """The answer inside a JSON object with one answer key; also when a stray quote breaks it, as in `"B") text"`."""
    try:
        pairs: Any = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        broken = _BROKEN_JSON.match(text)
        if broken is None:
            return None, "no option named"
        return broken[1].replace('"', "").replace("'", "").strip(), None
    named = [(str(key).strip(), value) for key, value in pairs.items]
    answers = [value for key, value in named if key.lower() in _ANSWER_KEYS]
    if len(named) == 1 and not answers and len(named[0][0]) == 1 and isinstance(named[0][1], str):
        return f"{named[0][0]}: {named[0][1]}", None
    if len(answers) != 1 or any(len(key) == 1 for key, _ in named):
        return None, "several options named" if len(named) > 1 else "no option named"
    return (answers[0], None) if isinstance(answers[0], str) else (None, "no option named")


class _Pairs:
    """A JSON object with its duplicate keys still visible."""

    __slots__ = ("items",)

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items


def _loose(text: str) -> str:
    """Case, white space, emphasis and closing punctuation aside; a text of nothing but marks stays as it is."""
    plain = " ".join(text.replace("*", "").replace("`", "").split())
    return (plain.strip(_ENDS) or plain).casefold()


def _begins(text: str, start: str) -> bool:
    """True when `text` begins with the whole words of `start`."""
    return text.startswith(start) and len(text) > len(start) and not text[len(start)].isalnum()


def _names(text: str, words: str) -> bool:
    """True when `words` stand in `text` as whole words."""
    at = text.find(words)
    while at >= 0:
        end = at + len(words)
        if not (at and text[at - 1].isalnum()) and not (end < len(text) and text[end].isalnum()):
            return True
        at = text.find(words, at + 1)
    return False
