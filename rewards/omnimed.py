"""The rule of OmniMedVQA's official scorer: the option most similar to the raw completion.

>>> most_similar("It looks like a benign nevus", ["melanoma", "nevus"])
1

The official call is `SequenceMatcher(None, option, completion).ratio()` with difflib's default `autojunk`, and the
first option with the highest ratio above zero wins. Both are kept: the completion stays the *second* sequence, where
autojunk drops characters that make up more than 1 % of a text of 200 characters or longer. Nothing is normalised.
The index of the completion is built once for all options, and an option whose upper bound (`quick_ratio`) is below
the best ratio so far is not compared: neither can change who wins. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher


def most_similar(text: str, options: Sequence[str]) -> int | None:
    """Index of the option with the highest ratio to `text`; None when no option shares anything with it."""
    matcher: SequenceMatcher[str] = SequenceMatcher(None, "", text)
    bounds = []
    for index, option in enumerate(options):
        matcher.set_seq1(option)
        bounds.append((-matcher.quick_ratio(), index))
    best, winner = 0.0, None
    for bound, index in sorted(bounds):
        if -bound < best:
            break
        matcher.set_seq1(options[index])
        ratio = matcher.ratio()
        if ratio > best or (winner is not None and ratio == best and index < winner):
            best, winner = ratio, index
    return winner
