"""Adapters: TRL's and lm-eval's numbers are those of the audit on the same answers."""

import asyncio
import importlib
import json
import pickle

import pytest
from PIL import Image
from reward_cases import ANSWERS, OPTIONS, ScriptedJudge, row, write_rows

import rewards
from rewards.adapters import HeldImage, TRLReward, lm_eval_results
from rewards.errors import ImageProblem, UserError
from rewards.scoring import score_file

TEXTS = list(ANSWERS.values())
JUDGE = {"Crowded": {"contradiction": True}, "Hard": None, "cut": {"image_features": False}}


def columns(count=7, **more):
    made = {"question": ["What is shown?"] * count, "options": [list(OPTIONS)] * count, "answer_index": [1] * count,
            "id": [str(i) for i in range(count)]}
    return {**made, **more}


def call(reward, completions=TEXTS, ids=None, **more):
    extra, metrics = {}, {}
    made = columns(len(completions))
    made.update(more)
    totals = asyncio.run(reward(
        prompts=["?"] * len(completions), completions=completions, completion_ids=ids, trainer_state=object(),
        log_extra=lambda name, values: extra.update({name: values}),
        log_metric=lambda name, value: metrics.update({name: value}), **made))
    return totals, extra, metrics


@pytest.mark.parametrize("spec", ["outcome", "dual"])
def test_all_three_ways_give_the_same_numbers(tmp_path, spec):
    judge = ScriptedJudge(JUDGE) if spec == "dual" else None
    samples = write_rows(tmp_path / "samples.jsonl", [row(str(i), text) for i, text in enumerate(TEXTS)])
    reward = rewards.load(spec, judge=judge)
    asyncio.run(score_file(samples, reward, tmp_path / "scores.jsonl", progress=False))
    stored = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    trl = TRLReward(spec, judge=judge)
    totals, extra, _ = call(trl)
    assert trl.reward.fingerprint == reward.fingerprint
    assert totals == [line["total"] for line in stored]
    for place, label in enumerate(reward.parts):
        assert extra[label] == [line["scores"][place]["value"] for line in stored]
    cheap = [lm_eval_results({"options": list(OPTIONS), "answer_index": 1}, [text]) for text in TEXTS]
    assert [made["format_rate"] for made in cheap] == extra["format"]
    assert [made["accuracy_strict"] for made in cheap] == extra["accuracy"]


@pytest.mark.parametrize("contract", ["strict", "letter", "omnimed"])
def test_lm_eval_agrees_with_the_accuracy_part(contract):
    reward = TRLReward({"parts": {"accuracy": {"contract": contract}}})
    totals, _, _ = call(reward)
    doc = {"options": list(OPTIONS), "answer_index": 1}
    assert totals == [lm_eval_results(doc, [text])[f"accuracy_{contract}"] for text in TEXTS]
    assert totals == [lm_eval_results(doc, [[text]])[f"accuracy_{contract}"] for text in TEXTS], "filters give lists"


def test_lm_eval_parse_rate():
    made = [lm_eval_results({"options": list(OPTIONS), "answer_index": 1}, [text])["parse_rate"] for text in TEXTS]
    assert dict(zip(ANSWERS, made, strict=True)) == {
        "gold": 1, "wrong": 1, "lenient": 1, "bare": 1, "unread": 0, "cut": 0, "empty": 0}


def test_a_missing_verdict_is_none_for_the_whole_sample():
    totals, extra, metrics = call(TRLReward("dual", judge=ScriptedJudge({"Even": None})))
    missing = ["Even" in text for text in TEXTS]
    assert [total is None for total in totals] == missing
    assert [value is None for value in extra["integrity"]] == missing
    assert extra["format"] == [1, 1, 1, 0, 1, 0, 0], "cheap parts are logged all the same"
    assert metrics["reward/integrity/missing"] == pytest.approx(sum(missing) / 7)
    assert metrics["reward/integrity"] == 1.0 and metrics["reward/format/missing"] == 0


def test_no_mean_is_logged_where_nothing_was_scored():
    _, _, metrics = call(TRLReward("dual", judge=ScriptedJudge({"": None})))
    assert "reward/integrity" not in metrics and metrics["reward/integrity/missing"] == 1


def test_conversational_completions():
    plain, _, _ = call(TRLReward("outcome"))
    chat = [[{"role": "assistant", "content": text}] for text in TEXTS]
    blocks = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in TEXTS]
    assert call(TRLReward("outcome"), chat)[0] == call(TRLReward("outcome"), blocks)[0] == plain
    assert call(TRLReward("outcome"), [[], [{"role": "assistant", "content": None}]])[0] == [0, 0]


def test_token_counts_reach_the_parts():
    reward = TRLReward({"parts": {"overlong": {"max_tokens": 10, "soft_tokens": 5}}})
    assert call(reward, ["x"] * 3, [[0] * 5, [0] * 9, [0] * 10])[0] == [1, pytest.approx(0.2), 0]
    assert call(reward, ["x"])[0] == [None], "no ids, no count, no guess"


def test_a_full_completion_is_marked_as_cut():
    reward = TRLReward("outcome", max_completion_tokens=4)
    seen = []
    score = reward.reward.score

    async def watched(sample, completion):
        seen.append((completion.finish_reason, completion.tokens_out))
        return await score(sample, completion)

    reward.reward.score = watched
    assert call(reward, ["x", "y"], [[1] * 4, [1] * 3])[0] == [0, 0]
    assert seen == [("length", 4), ("stop", 3)]


def test_references_facts_and_images_come_from_columns():
    asked = []

    class Looks(ScriptedJudge):
        async def ask(self, request):
            asked.append(request)
            return await super().ask(request)

    picture = Image.new("RGB", (4, 4), (1, 2, 3))
    call(TRLReward("dual", judge=Looks()), ["a", "b", "c"], facts=['{"kind": "x"}', {"kind": "y"}, None],
         images=[[picture], picture, None])
    assert [request.context["facts"] for request in asked] == [{"kind": "x"}, {"kind": "y"}, None]
    assert asked[0].image.read() == asked[1].image.read() and asked[0].image.open().size == (4, 4)
    assert asked[0].image.sha256 == asked[1].image.sha256
    with pytest.raises(ImageProblem):
        asked[2].image.read()
    entities = TRLReward({"parts": {"entities": {}}})
    assert call(entities, ["even crypts"], reference=["The crypts are even"])[0][0] == 1.0
    with pytest.raises(ImageProblem, match="expected a PIL image"):
        HeldImage(3).read()


@pytest.mark.parametrize(("changes", "message"), [
    ({"options": None}, r"lacks the column\(s\) options"),
    ({"question": None, "answer_index": None}, r"lacks the column\(s\) question, answer_index"),
    ({"answer_index": [7]}, "completion 0: expected 2 to 10 options and answer_index among them, got 7 of 3"),
    ({"options": [["only"]]}, "got 1 of 1"),
])
def test_columns_that_are_missing_or_wrong(changes, message):
    with pytest.raises(UserError, match=message):
        call(TRLReward("outcome"), ["B"], **changes)


def test_one_picklable_async_callable():
    reward = pickle.loads(pickle.dumps(TRLReward("dual", judge="scripted:honest", penalty=0.3)))
    assert asyncio.iscoroutinefunction(reward.__call__) and reward.__name__ == "dual"
    assert call(reward, [ANSWERS["gold"]])[0] == [pytest.approx(2 + (0.1 + 1) / 2)]


def test_works_on_one_loop_after_another():
    reward = TRLReward("dual", judge="scripted:honest")
    assert call(reward)[0] == call(reward)[0]


def test_trl_accepts_it_as_an_async_reward():
    grpo = importlib.import_module("trl.trainer.grpo_trainer")
    reward = TRLReward("outcome")
    assert grpo.is_async_callable(reward) and grpo.get_callable_name(reward) == "outcome"
