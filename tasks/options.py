"""Options and answers as the data sets write them, brought to one form: texts without letters, and an index.

>>> read_options(["A) acute", "B) chronic"])
(('acute', 'chronic'), ('A', 'B'))
>>> find_answer("B", ("acute", "chronic"), ("A", "B"))
1

Nothing is guessed: an answer that fits no option, or two, is a `RowError`. Standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rewards.types import LETTERS
from tasks.loaded import Reason, RowError

_HALF = re.compile("[\ud800-\udfff]")
_LABEL = re.compile(r"[(\[]?([A-Ja-j])[)\].:](?:\s+|(?=\S)|$)(.*)", re.DOTALL)


def whole(text: str) -> str:
    """The text with half characters (lone surrogates, which JSON can hold and UTF-8 cannot) shown as U+FFFD."""
    return _HALF.sub("\ufffd", text)


def squash(text: str) -> str:
    """White space runs as one blank, none at the ends; no half characters."""
    return " ".join(whole(text).split())


def fold(text: str) -> str:
    """For comparing: case, a final full stop, white space and compatibility forms (NFKC) do not count."""
    return squash(unicodedata.normalize("NFKC", text)).rstrip(".").rstrip().casefold()


def read_options(raw: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Texts and labels of a list of options, "A) text" or bare text.

    Labels are taken off only when every option carries its own, so that "E. coli" stays whole; options without labels
    get A, B, C by position. Raises: RowError.
    """
    if not isinstance(raw, list | tuple) or not raw:
        raise RowError(Reason.NO_OPTIONS, "" if raw in (None, [], ()) else repr(raw)[:80])
    if not all(isinstance(option, str) for option in raw):
        raise RowError(Reason.MALFORMED, "an option is not text")
    texts = [squash(option) for option in raw]
    found = [_LABEL.fullmatch(text) for text in texts]
    labels = [match[1].upper() for match in found if match]
    if len(labels) == len(texts) == len(set(labels)):
        texts = [match[2].strip() for match in found if match]
    else:
        labels = list(LETTERS[: len(texts)])
    check_options(texts)
    return tuple(texts), tuple(labels)


def check_options(texts: Sequence[str]) -> None:
    """Two to ten options, none empty, all different. Raises: RowError."""
    if len(texts) < 2:
        raise RowError(Reason.TOO_FEW_OPTIONS, str(len(texts)))
    if len(texts) > len(LETTERS):
        raise RowError(Reason.TOO_MANY_OPTIONS, str(len(texts)))
    if not all(texts):
        raise RowError(Reason.EMPTY_OPTION, LETTERS[list(texts).index("")])
    folded = [fold(text) for text in texts]
    repeated = next((text for text, key in zip(texts, folded, strict=True) if folded.count(key) > 1), None)
    if repeated is not None:
        raise RowError(Reason.REPEATED_OPTION, repeated[:80])


def find_answer(raw: object, texts: Sequence[str], labels: Sequence[str]) -> int:
    """Index of the option that the answer names: its text, its bare letter, or "letter) text".

    Case and a final full stop do not count. Letter and text of different options are a `RowError`, as is an answer
    that names none.
    """
    if not isinstance(raw, str) or not raw.strip():
        raise RowError(Reason.NO_ANSWER, "" if raw is None else repr(raw)[:80])
    answer = squash(raw)
    keys = [fold(text) for text in texts]
    if fold(answer) in keys:
        return keys.index(fold(answer))
    if re.fullmatch(r"[A-Ja-j]", answer.rstrip(".")) and answer[0].upper() in labels:
        return list(labels).index(answer[0].upper())
    match = _LABEL.fullmatch(answer)
    if match is None:
        raise RowError(Reason.ANSWER_NOT_OFFERED, answer[:80])
    letter, text = match[1].upper(), fold(match[2])
    if (text and text not in keys) or letter not in labels:
        raise RowError(Reason.ANSWER_NOT_OFFERED, answer[:80])
    index = list(labels).index(letter)
    if text and keys.index(text) != index:
        raise RowError(Reason.ANSWER_DISAGREES, answer[:80])
    return index
