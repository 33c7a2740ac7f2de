"""How fast answers are read and scored: completions a second on one core, and the time of hostile megabytes.

    python benchmarks/parse.py

Scored is what `rewards.load("outcome")` does: parse under the strict and letter contracts, format, accuracy, total.
`omnimed` compares strings at length and is computed only when it is asked for, so it stands on a line of its own.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable
from typing import Any

import rewards
from rewards.parse import parse
from rewards.stored import AbsentImage
from rewards.types import Sample

OPTIONS = ("Adenoma", "Normal colon", "A lesion in the lung", "Squamous cell carcinoma")
REASONING = "The crypts are evenly spaced, goblet cells are preserved and no atypia is seen, so not an adenoma. "
SAMPLE = Sample("bench", "path", "1", "1", "What is shown?", OPTIONS, 1, "", AbsentImage("0" * 64))
ANSWERS = {
    "the paper's form, 400 characters": f"<think>{REASONING * 4}</think><answer>B) Normal colon</answer>",
    "the paper's form, 4,000 characters": f"<think>{REASONING * 40}</think><answer>B) Normal colon</answer>",
    "a decorated letter": f"<think>{REASONING * 4}</think><answer>**B**: normal colon.</answer>",
    "JSON in a fence": f'<think>{REASONING * 4}</think><answer>```json\n{{"answer": "B"}}\n```</answer>',
    "no tags, closing sentence": f"{REASONING * 4}\nThe answer is B.",
    "with letters beyond ASCII": f"<think>{REASONING * 4}µ</think><answer>B) Normal colon</answer>",
}
MEGABYTE = 1_000_000
HOSTILE = {
    "unclosed <think>": "<think>" * (MEGABYTE // 7), "unclosed <answer>": "<answer>" * (MEGABYTE // 8),
    "closed answers": "<answer>B</answer>" * (MEGABYTE // 18), "nested": "<think><answer>" * (MEGABYTE // 15),
    "<": "<" * MEGABYTE, "The answer is": "The answer is " * (MEGABYTE // 14), "braces": "{" * MEGABYTE,
    "white space": " " * MEGABYTE, "combining marks": "e" + "\u0301\u0323" * (MEGABYTE // 2),
    "U+FDFA (18 characters each)": "\ufdfa" * MEGABYTE, "option words": "Normal colon " * (MEGABYTE // 13),
    "distinct characters": "".join(chr(0x4E00 + i % 20_000) for i in range(MEGABYTE)),
}


def per_second(work: Callable[[], Any], at_least_s: float = 1.0) -> float:
    """Runs of `work` in a second of processor time."""
    work()
    runs, start = 0, time.process_time()
    while time.process_time() - start < at_least_s:
        for _ in range(50):
            work()
        runs += 50
    return runs / (time.process_time() - start)


async def scored_per_second(text: str, seconds: float = 1.0) -> float:
    """Scorings by the outcome reward in a second of processor time."""
    reward = rewards.load("outcome")
    await reward.score(SAMPLE, text)
    runs, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        for _ in range(50):
            await reward.score(SAMPLE, text)
        runs += 50
    return runs / (time.process_time() - start)


def main() -> None:
    """Print both tables."""
    print(f"Python {platform.python_version()}, {platform.machine()}, one core\n")
    print(f"{'completion':36}{'scored/s':>12}{'omnimed/s':>12}")
    for name, text in ANSWERS.items():
        rate = asyncio.run(scored_per_second(text))
        omnimed = per_second(lambda text=text: parse(text, OPTIONS).letters["omnimed"])  # type: ignore[misc]
        print(f"{name:36}{rate:12,.0f}{omnimed:12,.0f}")
    print(f"\n{'hostile megabyte':36}{'parse, s':>12}{'omnimed, s':>12}")
    for name, text in HOSTILE.items():
        start = time.process_time()
        parsed = parse(text, OPTIONS)
        middle = time.process_time()
        _ = parsed.letters["omnimed"]
        print(f"{name:36}{middle - start:12.3f}{time.process_time() - middle:12.3f}")


if __name__ == "__main__":
    main()
