"""Do the 95 % intervals hold the truth 95 times in 100? Simulated data sets with a known answer, clustered and not.

    python benchmarks/coverage.py [--datasets 2000] [--resamples 1000] [--json OUT]

Prints, for each case, the share of intervals that hold the true value. The aim is 95 % +- 1.5 points (with 2,000 data
sets the Monte Carlo error of the share itself is about 0.5 points).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from bench import stats

CASES = (
    # name, images, questions an image, true accuracy, spread between images (0: independent questions)
    ("independent, 200 questions", 200, 1, 0.60, 0.0),
    ("independent, 1,000 questions, high accuracy", 1000, 1, 0.92, 0.0),
    ("clustered, 200 images x 3", 200, 3, 0.60, 0.25),
    ("clustered, 30 images x 5", 30, 5, 0.55, 0.20),
    ("clustered, 500 images, 1 to 9 questions", 500, 0, 0.50, 0.30),
)

FLIP = 0.1


def draw(
    rng: np.random.Generator, images: int, each: int, accuracy: float, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong answers (0/1) of one data set and the image of each."""
    sizes = np.full(images, each) if each else rng.integers(1, 10, size=images)
    level = np.clip(accuracy + spread * (2 * rng.integers(0, 2, size=images) - 1), 0, 1)
    image = np.repeat(np.arange(images), sizes)
    return (rng.random(len(image)) < level[image]).astype(float), image


def coverage(case: tuple[str, int, int, float, float], datasets: int, resamples: int) -> dict[str, float | str]:
    """Shares of intervals that hold the truth: cluster bootstrap, Wilson, paired difference."""
    name, images, each, accuracy, spread = case
    rng = np.random.default_rng(20261123)
    hit = dict.fromkeys(("cluster", "wilson", "paired"), 0)
    for number in range(datasets):
        right, image = draw(rng, images, each, accuracy, spread)
        found = stats.cluster_bootstrap(right, image.tolist(), resamples=resamples, seed=number)
        hit["cluster"] += found.low is not None and found.high is not None and found.low <= accuracy <= found.high
        low, high = stats.wilson(right.sum(), len(right))
        hit["wilson"] += low <= accuracy <= high
        # A second model that flips each answer with a known probability: the true difference is known too.
        flipped = np.where(rng.random(len(right)) < FLIP, 1 - right, right)
        truth = FLIP * (2 * accuracy - 1)
        paired = stats.paired_cluster_bootstrap(right, flipped, image.tolist(), resamples=resamples, seed=number)
        hit["paired"] += paired.low is not None and paired.high is not None and paired.low <= truth <= paired.high
    return {"case": name, **{k: v / datasets for k, v in hit.items()}}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(f"{arguments.datasets} data sets, {arguments.resamples} resamples; share of intervals that hold the truth")
    print(f"{'case':<46} {'cluster':>8} {'wilson':>8} {'paired':>8} {'seconds':>8}")
    found = []
    for case in CASES:
        start = time.perf_counter()
        row = coverage(case, arguments.datasets, arguments.resamples)
        found.append(row)
        print(f"{row['case']:<46} {row['cluster']:>8.1%} {row['wilson']:>8.1%} {row['paired']:>8.1%} "
              f"{time.perf_counter() - start:>8.1f}")
    print("Wilson takes questions as independent: on clustered data it is expected to fall short.")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
