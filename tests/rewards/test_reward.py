"""The reward object: scoring, missing verdicts, shared judge calls, many at once, fingerprint, import cost."""

import asyncio
import pickle
import subprocess
import sys
import time
import tracemalloc

import pytest
from reward_cases import ANSWERS, GOLD, ScriptedJudge, sample

import rewards
from rewards import registry
from rewards.errors import UserError
from rewards.judges.base import JudgeError
from rewards.registry import Part, part
from rewards.types import Completion, Sample, Score


def run(reward, text=GOLD, **changes):
    return asyncio.run(reward.score(sample(**changes), text))


@pytest.fixture
def recorded():
    """Parts recorded by a test are forgotten after it."""
    before = dict(registry._PARTS)
    yield
    registry._PARTS.clear()
    registry._PARTS.update(before)


# --- one answer -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("answer", "total"), [
    ("gold", 2), ("wrong", 1), ("lenient", 1), ("bare", 0), ("unread", 1), ("cut", 0), ("empty", 0)])
def test_outcome(answer, total):
    result = run(rewards.load("outcome"), ANSWERS[answer])
    assert result.total == total and [score.part for score in result.scores] == ["format", "accuracy"]
    assert result.usage == {}


def test_dual_sums_to_three_for_a_perfect_answer_and_asks_once():
    judge = ScriptedJudge()
    result = run(rewards.load("dual", judge=judge))
    assert result.total == 3.0 and judge.calls == 1
    assert result.usage == {"calls": 1, "tokens_in": 3, "tokens_out": 2, "cost_usd": 0.5, "cached": False,
                            "models": ["test"]}


def test_process_is_half_integrity_half_knowledge():
    judge = ScriptedJudge({"Even": {"image_features": False, "contradiction": True, "outdated_criterion": True}})
    result = run(rewards.load("dual", judge=judge))
    assert [score.value for score in result.scores] == [1, 1, 0.6, pytest.approx(0.2)]
    assert result.total == pytest.approx(2 + (0.6 + 0.2) / 2)


def test_a_missing_verdict_is_never_a_number():
    result = run(rewards.load("dual", judge=ScriptedJudge({"Even": None})))
    assert result.total is None
    assert {score.part: score.failure for score in result.scores} == {
        "format": None, "accuracy": None, "integrity": "timeout", "knowledge": "timeout"}
    assert all(score.value is None for score in result.scores[2:])


def test_an_optional_process_reward_is_left_out_and_recorded():
    spec = {"parts": {"format": {}, "integrity": {"required": False}}}
    result = run(rewards.load(spec, judge=ScriptedJudge({"Even": None})))
    assert result.total == 2.0 and result.scores[1].failure == "timeout"


def test_an_error_is_no_answer():
    judge = ScriptedJudge()
    result = run(rewards.load("dual", judge=judge), Completion("", "error", error="connection reset"))
    assert result.total is None and judge.calls == 0
    assert {score.failure for score in result.scores} == {"completion-error"}
    assert result.scores[0].reason == "connection reset"


def test_process_and_quality_are_two_calls_at_the_same_time():
    judge = ScriptedJudge(wait_s=0.05)
    result = run(rewards.load({"parts": {"integrity": {}, "knowledge": {}, "r_acc": {}, "rigor": {}}}, judge=judge))
    assert judge.calls == 2 and judge.most == 2
    assert [score.value for score in result.scores] == [1, 1, 0.6, 0.6]
    assert result.usage["calls"] == 2 and result.usage["cost_usd"] is None, "one cost is not known"


def test_a_judged_reward_without_a_judge():
    reward = rewards.load("dual")
    assert reward.judged == ("integrity", "knowledge")
    with pytest.raises(UserError, match=r"has judged parts \(integrity, knowledge\): name a judge"):
        run(reward)


def test_the_spec_may_name_the_judge():
    reward = rewards.load({"judge": {"ref": "scripted:honest"}, "parts": {"integrity": {}}})
    assert run(reward).total == 0 and reward.judge_identity["model"] == "honest"
    with pytest.raises(UserError, match="no judge backend 'rule'"):
        rewards.load("dual", judge="rule")
    with pytest.raises(UserError, match="judge settings were given"):
        rewards.load("outcome", judge_settings={"cache": "x"})


# --- faults ---------------------------------------------------------------------------------------------------

def test_a_fault_in_a_part_costs_its_score_not_the_batch(recorded):
    @part("broken", version="1")
    class Broken(Part):
        """Raises."""

        async def score(self, sample, parsed, completion):
            raise RuntimeError("no such thing")

    reward = rewards.load({"parts": {"format": {}, "broken": {"required": False}}})
    result = run(reward)
    assert result.scores[1] == Score("broken", None, "RuntimeError: no such thing", "part-error")
    assert result.total == 2.0


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), float("inf"), "1"])
def test_a_value_outside_the_range_is_missing(recorded, value):
    @part("wild", version="1")
    class Wild(Part):
        """Gives anything."""

        async def score(self, sample, parsed, completion):
            return self.give(value)

    result = run(rewards.load({"parts": {"wild": {}}}))
    assert result.total is None and result.scores[0].failure == "out-of-range"


def test_a_missing_score_always_has_a_reason(recorded):
    @part("silent", version="1")
    class Silent(Part):
        """Gives nothing."""

        async def score(self, sample, parsed, completion):
            return Score("silent", None)

    assert run(rewards.load({"parts": {"silent": {}}})).scores[0].failure == "no-reason-given"


class FaultyJudge:
    def __init__(self, problem):
        self.problem = problem

    async def ask(self, request):
        raise self.problem


def test_faults_of_a_judge():
    result = run(rewards.load("dual", judge=FaultyJudge(RuntimeError("boom"))))
    assert result.total is None and result.scores[2].failure == "judge-error"
    with pytest.raises(UserError, match="key refused"):
        run(rewards.load("dual", judge=FaultyJudge(UserError("key refused"))))
    with pytest.raises(JudgeError):
        run(rewards.load("dual", judge=FaultyJudge(JudgeError("fail"))))


# --- many -----------------------------------------------------------------------------------------------------

def pairs(count):
    return [(sample(id=str(i)), f"<think>{'Even' if i % 3 else 'bad'} {i}</think><answer>B) Normal colon</answer>")
            for i in range(count)]


def test_many_keep_order_and_bound():
    judge = ScriptedJudge({"bad": {"contradiction": True}}, wait_s=0.002)
    reward = rewards.load("dual", judge=judge)

    async def both():
        listed = await reward.score_many(pairs(50), concurrency=7, progress=False)
        streamed = [result async for result in reward.score_many(iter(pairs(50)), concurrency=7, progress=False)]
        return listed, streamed

    listed, streamed = asyncio.run(both())
    assert listed == streamed and len(listed) == 50
    assert [result.scores[3].value for result in listed[:4]] == [0.6, 1, 1, 0.6]
    assert judge.most == 7


def test_many_take_an_async_source_and_nothing():
    async def source():
        for pair in pairs(5):
            yield pair

    reward = rewards.load("outcome")
    assert len(asyncio.run(_all(reward, source()))) == 5
    assert asyncio.run(_all(reward, [])) == []
    with pytest.raises(UserError, match="concurrency must be at least 1"):
        rewards.load("dual").score_many([], concurrency=0)


async def _all(reward, source, **settings):
    return await reward.score_many(source, progress=False, **settings)


def test_an_early_stop_cancels_what_is_running():
    judge = ScriptedJudge(wait_s=0.01)
    reward = rewards.load("dual", judge=judge)

    async def first_two():
        results = reward.score_many(pairs(100), concurrency=4, progress=False).__aiter__()
        found = [await anext(results), await anext(results)]
        await results.aclose()
        return found, len(asyncio.all_tasks())

    found, tasks = asyncio.run(first_two())
    assert len(found) == 2 and tasks == 1 and judge.calls < 30


def test_a_users_mistake_ends_the_batch():
    reward = rewards.load("dual", judge=FaultyJudge(UserError("key refused")))
    with pytest.raises(UserError, match="key refused"):
        asyncio.run(_all(reward, pairs(20), concurrency=4))


def test_slow_ones_do_not_stop_the_others():
    judge = ScriptedJudge(wait_s=0.01)
    reward = rewards.load("dual", judge=judge)

    async def timed():
        start = asyncio.get_running_loop().time()
        await _all(reward, pairs(64), concurrency=16)
        return asyncio.get_running_loop().time() - start

    assert asyncio.run(timed()) < 0.5, "four waves of 10 ms, not 64"


def test_memory_is_flat():
    reward = rewards.load("dual", judge=ScriptedJudge())

    async def peak(count):
        tracemalloc.start()
        made = ((sample(id=str(i)), GOLD + "x" * 1_000) for i in range(count))
        async for _ in reward.score_many(made, concurrency=8, progress=False):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    asyncio.run(peak(50))
    small, large = asyncio.run(peak(100)), asyncio.run(peak(1_000))
    assert large < small + 300_000


def test_a_bar_on_a_terminal(capsys):
    reward = rewards.load("outcome")
    asyncio.run(_bar(reward))
    assert "scoring outcome" in capsys.readouterr().err


async def _bar(reward):
    await reward.score_many(pairs(3), progress=True)


# --- identity -------------------------------------------------------------------------------------------------

def test_the_fingerprint_names_what_can_change_a_number(recorded):
    def mark(spec, judge=None, **settings):
        return rewards.load(spec, judge=judge, **settings).fingerprint

    base = mark("dual", "scripted:honest")
    assert base == mark("dual", "scripted:honest") and len(base) == 16
    assert base == mark("dual", "scripted:honest", judge_settings={"concurrency": 3}), "how fast is not what"
    others = [mark("dual"), mark("outcome"), mark("dual", ScriptedJudge()),
              mark("dual", "scripted:honest", penalty=0.3)]
    shared = {"parts": {"format": {}, "integrity": {}}}
    others += [mark({**shared, "judge": judge}, "scripted:honest") for judge in (
        {}, {"image": False}, {"show": "neither"}, {"protocol": "paper"}, {"protocol": "paper", "fallback": "zero"})]
    others += [mark({"parts": {"accuracy": {"contract": name}}}) for name in ("strict", "letter", "omnimed")]
    assert len({base, *others}) == len(others) + 1
    old = mark("outcome")
    registry._PARTS["format"] = type("Format", (registry.find("format"),), {"version": "2"})
    assert mark("outcome") != old


def test_settings_of_a_protocol_that_no_part_uses_do_not_count():
    plain = {"parts": {"format": {}}}
    assert rewards.load(plain).fingerprint != rewards.load({"parts": {"format": {"weight": 2}}}).fingerprint
    assert rewards.load(plain).fingerprint == rewards.load({**plain, "judge": {"show": "neither"}}).fingerprint
    assert rewards.load(plain).fingerprint == rewards.load(plain, judge=ScriptedJudge()).fingerprint


def test_travels_by_pickle():
    reward = rewards.load("dual", judge="scripted:honest")
    copy = pickle.loads(pickle.dumps(reward))
    assert copy.fingerprint == reward.fingerprint and run(copy) == run(reward)
    assert "dual" in repr(copy) and copy.fingerprint in repr(copy)


def test_close_and_use_again():
    async def twice():
        async with rewards.load("dual", judge="scripted:honest") as reward:
            first = await reward.score(sample(), GOLD)
        return first.total, (await reward.score(sample(), GOLD)).total

    assert asyncio.run(twice()) == (2.5, 2.5)


def test_importing_rewards_is_light():
    code = ("import sys, rewards; rewards.load('dual'); import rewards.adapters, rewards.audit;"
            "print([m for m in ('torch', 'transformers', 'trl', 'lm_eval', 'openai', 'anthropic', 'pandas', 'numpy') "
            "if m in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_public_names():
    for name in rewards.__all__:
        assert getattr(rewards, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rewards.nothing


def test_cpu_cost_is_far_below_a_judge_call():
    """The figure that counts comes from benchmarks/parse.py; this only catches a slip of an order of magnitude."""
    reward = rewards.load("outcome")

    async def many():
        for _ in range(2_000):
            await reward.score(SAMPLE, GOLD)

    start = time.process_time()
    asyncio.run(many())
    assert 2_000 / (time.process_time() - start) > 10_000


SAMPLE: Sample = sample()
