"""The `rules` judge: found by name, exact where it answers, missing where it cannot tell."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import rewards
from rewards.errors import UserError
from rewards.judges import protocols
from rewards.judges.registry import find
from rewards.judges.resolve import resolve
from rewards.parse import parse
from rewards.types import Completion
from tasks.phantom.defects import score
from tasks.phantom.suite import samples
from tasks.phantom.teacher import Teacher, training_rows

FLAWED = Teacher(skip_elimination=0.4, skip_rule=0.3, definition_violated=0.3, contradiction=0.3, outdated=0.3)


def judged(sample, text, protocol="events"):
    async def run():
        parsed = parse(text, sample.options)
        completion = Completion(text=text, finish_reason="stop")
        return await protocols.load(protocol).judge(resolve("rules"), sample, completion, parsed)

    return asyncio.run(run())


def test_it_is_found_by_name():
    assert find("rules").__module__ == "tasks.phantom.rules"


def test_verdicts_are_the_constructed_events_with_quotes_from_the_chain():
    for row in training_rows("oct", "test", n=30, teacher=FLAWED):
        judgement = judged(row.sample, row.target)
        assert judgement.values == row.events, row.target
        assert judgement.detail["unquoted"] == []
        assert judgement.detail["cost_usd"] == 0.0


def test_the_papers_protocol_gets_the_papers_arithmetic():
    row = training_rows("derm", "test", n=1, teacher=Teacher(skip_rule=1.0, outdated=1.0))[0]
    values = judged(row.sample, row.target, "paper").values
    assert (values["integrity"], values["knowledge"]) == score(row.events) == (0.6, 0.6)


def test_what_it_cannot_tell_is_missing_with_the_sentence():
    sample = samples("ct", "test", n=1)[0]
    judgement = judged(sample, f"<think>Well, this looks bad to me.</think><answer>{sample.answer}</answer>")
    assert judgement.values is None and judgement.failure == "cannot-tell"
    assert "Well, this looks bad to me" in judgement.reason


def test_it_refuses_real_data_and_protocols_it_cannot_answer():
    sample = samples("ct", "test", n=1)[0]
    with pytest.raises(UserError, match="has none; use --data phantom"):
        judged(replace(sample, facts=None), "<think>x</think><answer>A</answer>")
    with pytest.raises(UserError, match="answers the protocols events and paper, not 'quality'"):
        judged(sample, "<think>x</think><answer>A</answer>", "quality")


def test_the_dual_reward_of_a_chain_is_its_constructed_score():
    async def run(rows):
        reward = rewards.load("dual", judge="rules")
        return [await reward.score(row.sample, Completion(text=row.target, finish_reason="stop")) for row in rows]

    rows = training_rows("fundus", "rl", n=20, size=48, teacher=FLAWED)
    for row, result in zip(rows, asyncio.run(run(rows)), strict=True):
        assert result.total == pytest.approx(2 + sum(score(row.events)) / 2)
