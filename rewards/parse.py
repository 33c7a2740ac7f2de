"""The only reader of `<think>` and `<answer>`: one pass over a completion, three extraction contracts.

>>> parsed = parse("<think>Crypts are intact.</think><answer>B) Normal colon</answer>", ["Adenoma", "Normal colon"])
>>> parsed.well_formed, parsed.letters["strict"], parsed.letters["letter"], parsed.letters["omnimed"]
(True, 'B', 'B', 'B')

A contract gives a letter that was offered, or None; `strict` and `letter` never guess. Nothing here raises on any
text, and the time is linear in its length. `rewards.readings` reads what stands inside an answer block.
Standard library and `rewards.types` only.

How long text is handled: the last 20,000 characters are NFKC-normalised and read by `letter`, the same characters as
they came by `omnimed`, and `truncated` says that there was more. The place of the tags is looked up in the whole text
(a linear scan), so a long but well-formed answer stays well formed and an unclosed `<think>` far above is not missed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.omnimed import most_similar
from rewards.readings import Options, closing_letter, prepared, read_answer, read_unclosed
from rewards.types import CONTRACTS, LETTERS, Parsed

VERSION = "1"
"""Bumped with every change that can move a letter; part of every reward's fingerprint."""

READ_CHARS = 20_000
"""How many characters, counted from the end, the contracts read."""

_TAG = re.compile(r"<\s{0,4}(/?)\s{0,4}(think|answer)\s{0,4}>", re.IGNORECASE | re.ASCII)
_PIECE = 512
_FULL_WIDTH = {0xFF01 + offset: 0x21 + offset for offset in range(94)}
"""Above the part that is read, tags are all that matters: their full-width forms are undone, length kept."""


class Letters(Mapping[str, "str | None"]):
    """Letter by contract. `omnimed` compares strings at length and is computed when it is first asked for."""

    __slots__ = ("_letter", "_omnimed", "_options", "_raw", "_strict")

    def __init__(self, strict: str | None, letter: str | None, raw: str, options: tuple[str, ...]) -> None:
        self._strict = strict
        self._letter = letter
        self._raw = raw
        self._options = options
        self._omnimed: str | None = ""  # "" is "not asked for yet"

    def __getitem__(self, contract: str) -> str | None:
        if contract == "letter":
            return self._letter
        if contract == "strict":
            return self._strict
        if contract != "omnimed":
            raise KeyError(contract)
        if self._omnimed == "":
            index = most_similar(self._raw, self._options[: len(LETTERS)])
            self._omnimed = None if index is None else LETTERS[index]
        return self._omnimed

    def __iter__(self) -> Iterator[str]:
        return iter(CONTRACTS)

    def __len__(self) -> int:
        return len(CONTRACTS)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> Any:
        return Letters, (self._strict, self._letter, self._raw, self._options)


@dataclass(slots=True)
class Blocks:
    """Where the blocks of one text stand; spans are (start, end) of the inner text, None where there is no block.

    `outside` is where the text after the reasoning begins. `cut` is True when the text ends inside the reasoning,
    `unclosed` the start of an answer block without an end.
    """

    think: tuple[int, int] | None = None
    answer: tuple[int, int] | None = None
    outside: int = 0
    cut: bool = False
    unclosed: int | None = None
    well_formed: bool = False


def parse(text: str, options: Sequence[str]) -> Parsed:
    """Read one completion under every contract.

    `options` are the 2 to 10 option texts without letters. Letters are among those offered, or None. `problem` names
    why `letter` read nothing. Never raises on any text.
    """
    raw = text if isinstance(text, str) else ""
    offered = prepared(tuple(options))
    head = raw[:-READ_CHARS]
    tail = _normalise(raw[-READ_CHARS:])
    full = (head if head.isascii() else head.translate(_FULL_WIDTH)) + tail if head else tail
    start = max(0, len(full) - READ_CHARS)
    blocks = _blocks(full)
    think = None if blocks.think is None else full[slice(*blocks.think)]
    answer = None if blocks.answer is None else full[slice(*blocks.answer)]
    strict = _strict(answer, offered) if blocks.well_formed and answer is not None else None
    if strict is not None:
        letter: str | None = strict
        problem: str | None = None
    else:
        letter, problem = _letter(full, start, blocks, offered)
    letters = Letters(strict, letter, raw[-READ_CHARS:], offered.raw)
    return Parsed(think, answer, blocks.well_formed, letters, problem, start > 0)


def _normalise(text: str) -> str:
    """NFKC in pieces: sorting a run of combining marks is quadratic in its length, so no piece is long."""
    if text.isascii():
        return text
    if len(text) <= _PIECE:
        return unicodedata.normalize("NFKC", text)
    pieces, start = [], 0
    while start < len(text):
        end = start + _PIECE
        # An ASCII character never combines with what stands before it: the safe place for a seam.
        end = next((at for at in range(end, min(end + 32, len(text))) if text[at] < "\x80"), end)
        pieces.append(unicodedata.normalize("NFKC", text[start:end]))
        start = end
    return "".join(pieces)


def _blocks(text: str) -> Blocks:
    """One walk over the tags.

    Reasoning runs from `<think>` to `</think>`. A `</think>` that was never opened closes reasoning that began in the
    prompt, and one that balances a nested `<think>` closes the outer block: in both cases all text above is reasoning.
    Any other stray `</think>` means nothing. The last closed answer block outside the reasoning counts.
    """
    found = Blocks()
    tags = list(_TAG.finditer(text)) if "<" in text else []
    inside, opened, closed, first = False, 0, 0, 0
    for tag in tags:
        closing, name = tag[1], tag[2].lower()
        if name == "answer":
            if inside:
                continue
            if not closing:
                found.unclosed = tag.end()
            elif found.unclosed is not None:
                found.answer, found.unclosed = (found.unclosed, tag.start()), None
        elif not closing:
            opened += 1
            if not inside:
                inside, first, found.unclosed = True, tag.end(), None
        else:
            closed += 1
            if inside:
                inside = False
            elif opened >= closed or (opened == 0 and closed == 1):
                found.answer = found.unclosed = None
            else:
                continue
            found.think, found.outside = (first, tag.start()), tag.end()
    found.cut = inside
    found.well_formed = (
        [tag[0] for tag in tags[:5]] == ["<think>", "</think>", "<answer>", "</answer>"]
        and not text[: tags[0].start()].strip()
        and not text[tags[1].end() : tags[2].start()].strip()
        and not text[tags[3].end() :].strip()
    )
    return found


def _strict(answer: str, options: Options) -> str | None:
    """The paper's contract: "X) option text", white space aside, letter and text of the same option."""
    given = " ".join(answer.split())
    index = LETTERS.find(given[:1]) if given else -1
    if 0 <= index < len(options.exact) and given == f"{LETTERS[index]}) {options.exact[index]}".rstrip():
        return LETTERS[index]
    return None


def _letter(full: str, start: int, blocks: Blocks, options: Options) -> tuple[str | None, str | None]:
    """The default contract: (letter, None) or (None, problem)."""
    if not full or full.isspace():
        return None, "empty"
    if blocks.cut:
        return None, "cut inside the reasoning"
    if blocks.answer is not None:
        if blocks.answer[0] < start:
            return None, "answer block beyond the last 20,000 characters"
        index, problem = read_answer(full[slice(*blocks.answer)], options)
    elif blocks.unclosed is not None:
        index = read_unclosed(full[max(blocks.unclosed, start) :], options)
        problem = "answer block not closed"
    else:
        index, problem = closing_letter(full[max(blocks.outside, start) :], options)
    return (None, problem) if index is None else (LETTERS[index], None)
