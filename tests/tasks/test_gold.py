"""The check every task must pass: its own right answers score 1.0 under every contract, an empty string 0.

`omnimed` compares the raw completion with each option, so that tags and reasoning can outweigh a short option: its gold
answer is the bare "B) text".
"""

from pathlib import Path

import pytest

import tasks
from rewards.errors import UserError
from rewards.parse import parse
from rewards.types import CONTRACTS


def rows(source: Path, task: str) -> list[tasks.Sample]:
    try:
        return tasks.load(task, source, split="all")
    except UserError as problem:
        assert "looked for" in str(problem)
        return []


@pytest.mark.parametrize("task", tasks.names())
def test_right_answers_score_one_on_every_row(source, task):
    for s in rows(source, task):
        parsed = parse(f"<think>The image shows it.</think><answer>{s.answer}</answer>", s.options)
        bare = parse(s.answer, s.options)
        read = {"strict": parsed.letters["strict"], "letter": parsed.letters["letter"],
                "omnimed": bare.letters["omnimed"]}
        assert read == dict.fromkeys(CONTRACTS, s.answer_letter), s.id
        assert parsed.well_formed


@pytest.mark.parametrize("task", tasks.names())
def test_wrong_and_empty_answers_score_zero_on_every_row(source, task):
    for s in rows(source, task):
        wrong = (s.answer_index + 1) % len(s.options)
        parsed = parse(f"<think>x</think><answer>{'ABCDEFGHIJ'[wrong]}) {s.options[wrong]}</answer>", s.options)
        assert s.answer_letter not in (parsed.letters["strict"], parsed.letters["letter"])
        empty = parse("", s.options)
        assert (empty.letters["strict"], empty.letters["letter"], empty.well_formed) == (None, None, False)
