"""What can be scored on phantom questions without looking at the image: nothing but chance.

>>> [row.baseline for row in measure("derm", n=60, train=90)][:2]
['always A', 'longest option']

Each baseline sees question and options only. The text-only model is a bag-of-words classifier (scikit-learn): for
every option it sees the words of the question, of the option and of the option's rivals, and pairs of them, learns on
the train split which options are right, and answers the test split with the best-scored option.
Ties are broken at random (fixed seed), so that a baseline is not always A in disguise. Intervals are bootstraps over
images, because questions of one image belong together. Of 25 intervals at 95 % one or two miss by luck; `low_all` and
`high_all` bound all 25 at once (Bonferroni, 99.8 % each). Must not import torch or anything of `bench`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rewards.types import Sample
from tasks.phantom.suite import samples

Floats = NDArray[np.float64]
RESAMPLES = 5000
TOGETHER = 25
"""Intervals that are looked at together: five baselines on five tasks."""


@dataclass(frozen=True, slots=True)
class Row:
    """Accuracy in [0, 1] of one baseline, its 95 % interval, and the accuracy of guessing (mean of 1 / options).

    `low_all` to `high_all` holds for all tasks and baselines together at 95 %.
    """

    task: str
    baseline: str
    n: int
    accuracy: float
    low: float
    high: float
    low_all: float
    high_all: float
    chance: float

    @property
    def at_chance(self) -> bool:
        """Whether the 95 % interval holds the chance level."""
        return self.low <= self.chance <= self.high

    @property
    def at_chance_together(self) -> bool:
        """Whether the interval for all baselines together holds it."""
        return self.low_all <= self.chance <= self.high_all


def measure(task: str, n: int = 900, train: int = 1500, seed: int = 0, leak: bool = False) -> list[Row]:
    """All baselines on the first `n` test samples; `train` samples teach the two that learn.

    `leak` marks the right option with a word of its own: it proves that the text-only model would find a leak.
    """
    learn, test = (samples(task, split, count, seed=seed) for split, count in (("train", train), ("test", n)))
    if leak:
        learn, test = ([_marked(sample) for sample in part] for part in (learn, test))
    chance = float(np.mean([1 / len(sample.options) for sample in test]))
    rows = []
    for name, baseline in BASELINES.items():
        rng = np.random.Generator(np.random.PCG64(seed))
        answers = [_choose(scores, rng) for scores in baseline(learn, test)]
        right = np.array([given == sample.answer_index for given, sample in zip(answers, test, strict=True)])
        bounds = _bounds(right, [sample.group for sample in test], rng)
        rows.append(Row(task, name, len(test), float(right.mean()), *bounds, chance))
    return rows


def _marked(sample: Sample) -> Sample:
    options = tuple(f"{option} indeed" if i == sample.answer_index else option
                    for i, option in enumerate(sample.options))
    return replace(sample, options=options)


Scores = list[Floats]
"""For each test sample a score per option; the highest is answered."""


def _always_a(learn: Sequence[Sample], test: Sequence[Sample]) -> Scores:
    return [np.array([1.0] + [0.0] * (len(sample.options) - 1)) for sample in test]


def _longest(learn: Sequence[Sample], test: Sequence[Sample]) -> Scores:
    return [np.array([float(len(option)) for option in sample.options]) for sample in test]


def _shortest(learn: Sequence[Sample], test: Sequence[Sample]) -> Scores:
    return [-lengths for lengths in _longest(learn, test)]


def _most_common(learn: Sequence[Sample], test: Sequence[Sample]) -> Scores:
    counts = Counter(sample.options[sample.answer_index] for sample in learn)
    return [np.array([float(counts[option]) for option in sample.options]) for sample in test]


def _text_only(learn: Sequence[Sample], test: Sequence[Sample]) -> Scores:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    words = CountVectorizer(token_pattern=r"\S+", binary=True, lowercase=False)
    features = words.fit_transform([text for sample in learn for text in _texts(sample)])
    labels = [i == sample.answer_index for sample in learn for i in range(len(sample.options))]
    model = LogisticRegression(C=0.3, max_iter=300).fit(features, labels)
    flat = model.decision_function(words.transform([text for sample in test for text in _texts(sample)]))
    ends = np.cumsum([len(sample.options) for sample in test])
    return [np.asarray(part, dtype=np.float64) for part in np.split(flat, ends[:-1])]


def _texts(sample: Sample) -> list[str]:
    """One bag of words an option: its words and place, the question's words, its rivals, and option-rival pairs."""
    asked = [f"q:{word}" for word in sample.question.split()]
    texts = []
    for i, option in enumerate(sample.options):
        rivals = [other.replace(" ", "_") for j, other in enumerate(sample.options) if j != i]
        own = option.replace(" ", "_")
        bag = [*asked, *(f"o:{word}" for word in option.split()), f"o:{own}", f"at:{i}", f"of:{len(sample.options)}",
               *(f"r:{rival}" for rival in rivals), *(f"p:{own}|{rival}" for rival in rivals)]
        texts.append(" ".join(bag))
    return texts


BASELINES: dict[str, Callable[[Sequence[Sample], Sequence[Sample]], Scores]] = {
    "always A": _always_a, "longest option": _longest, "shortest option": _shortest,
    "most common answer": _most_common, "text-only model": _text_only,
}  # fmt: skip
"""Name to scoring function, in the order of the table."""


def _choose(scores: Floats, rng: np.random.Generator) -> int:
    best = np.flatnonzero(scores == scores.max())
    return int(best[int(rng.integers(len(best)))])


def _bounds(right: NDArray[np.bool_], groups: Sequence[str],
            rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Percentile intervals over images, alone and together. `bench.stats` is a room above and cannot be used here."""
    names, index = np.unique(np.array(groups), return_inverse=True)
    hits = np.bincount(index, weights=right.astype(float))
    sizes = np.bincount(index)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        weights = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        means[i] = (weights * hits).sum() / (weights * sizes).sum()
    tails = (0.025, 0.975, 0.025 / TOGETHER, 1 - 0.025 / TOGETHER)
    low, high, low_all, high_all = np.quantile(means, tails).tolist()
    return low, high, low_all, high_all
