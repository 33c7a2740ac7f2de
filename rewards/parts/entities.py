"""`entities`: how many of the reference reasoning's entities the reasoning names (PathReasoner-R1).

    [parts.entities]
    measure = "f1"                                  # or "recall", "precision"
    terms = ["nuclear atypia", "gland", "mitosis"]  # a vocabulary; without one, every content word is an entity

A vocabulary finds its terms as whole words, a plural s aside. Without a vocabulary, entities are the words of four
letters or more that are no function words: a weak stand-in for an entity recogniser, and language-blind.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from rewards.registry import Part, PartSettings, part
from rewards.types import Completion, Parsed, Sample, Score

_WORD = re.compile(r"[^\W\d_]{4,}(?:-[^\W\d_]+)*")
_FUNCTION_WORDS = frozenset({
    "about", "above", "after", "again", "against", "also", "although", "among", "another", "answer", "because",
    "been", "before", "being", "below", "between", "both", "cannot", "correct", "could", "does", "doing", "done",
    "down", "during", "each", "either", "even", "every", "find", "from", "have", "having", "here", "however", "image",
    "into", "itself", "just", "less", "likely", "like", "made", "many", "more", "most", "much", "must", "neither",
    "none", "only", "option", "options", "other", "over", "question", "rather", "same", "seen", "several", "shown",
    "shows", "should", "since", "some", "such", "than", "that", "their", "them", "then", "there", "therefore",
    "these", "they", "this", "those", "though", "through", "thus", "together", "toward", "under", "until", "upon",
    "very", "well", "were", "what", "when", "where", "whether", "which", "while", "will", "with", "within", "without",
    "would", "your",
})


@lru_cache(maxsize=256)
def _finder(terms: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted((re.escape(" ".join(term.lower().split())) for term in terms), key=len, reverse=True)
    return re.compile(r"(?<!\w)(" + "|".join(longest_first) + r")s?(?!\w)")


def entities(text: str, terms: tuple[str, ...] = ()) -> frozenset[str]:
    """The entities that a text names, lower case."""
    plain = " ".join(text.lower().split())
    if terms:
        return frozenset(_finder(terms).findall(plain))
    return frozenset(word for word in _WORD.findall(plain) if word not in _FUNCTION_WORDS)


@part("entities", version="1")
class Entities(Part):
    """In [0, 1]; missing where the data ships no reference reasoning or the reference names no entity."""

    class Settings(PartSettings):
        """`terms`: the vocabulary, empty for content words; `measure`: how the two sets are compared."""

        terms: tuple[str, ...] = ()
        measure: Literal["f1", "recall", "precision"] = "f1"

    async def score(self, sample: Sample, parsed: Parsed, completion: Completion) -> Score:
        """Compare the think block (the whole text where there is none) with the reference."""
        if sample.reference is None:
            return self.missing("no-reference", "the data ships no reference reasoning for this question")
        wanted = entities(sample.reference, self.settings.terms)
        if not wanted:
            return self.missing("no-entities", "the reference reasoning names no entity")
        given = entities(completion.text if parsed.think is None else parsed.think, self.settings.terms)
        shared = len(wanted & given)
        recall, precision = shared / len(wanted), shared / len(given) if given else 0.0
        total = recall + precision
        by_measure = {"recall": recall, "precision": precision, "f1": 2 * recall * precision / total if total else 0.0}
        return self.give(by_measure[self.settings.measure], shared=shared, wanted=len(wanted), given=len(given))
