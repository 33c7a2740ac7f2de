"""Stage two on stored answers: rows to samples, lines, resume after any kind of stop, the means."""

import asyncio
import hashlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from PIL import Image
from reward_cases import ANSWERS, CLEAN, NoImage, ScriptedJudge, row, write_rows

import rewards
from rewards.errors import ImageProblem, UserError
from rewards.judges.base import JudgeReply
from rewards.judges.protocols.events import rubric_events
from rewards.scoring import Mean, score_file
from rewards.stored import AbsentImage, completion_from_row, folder_images, rows, sample_from_row

ROWS = [row(name, text) for name, text in ANSWERS.items()]


def score(tmp_path, reward, made=ROWS, **settings):
    samples = write_rows(tmp_path / "samples.jsonl", made)
    return asyncio.run(score_file(samples, reward, tmp_path / "scores.jsonl", progress=False, **settings))


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text("utf-8").splitlines()]


# --- rows -----------------------------------------------------------------------------------------------------

def test_a_row_gives_back_sample_and_completion():
    made = sample_from_row(row("7", "B", reference="why", facts={"kind": "x"}, subset="PubMed", split="test"))
    assert (made.id, made.options, made.answer_letter, made.reference, made.facts, made.subset, made.split) == (
        "7", ("Adenoma", "Normal colon", "Lymphoma"), "B", "why", {"kind": "x"}, "PubMed", "test")
    assert made.image == AbsentImage("0" * 64)
    with pytest.raises(ImageProblem, match="not at hand"):
        made.image.open()
    done = completion_from_row(row("7", "B", finish_reason="length", tokens_out=64))
    assert (done.text, done.finish_reason, done.tokens_out) == ("B", "length", 64)


@pytest.mark.parametrize(("changes", "message"), [
    ({"options": None}, "expected 2 to 10 options"), ({"options": ["a"]}, "expected 2 to 10 options"),
    ({"answer_index": 3}, "answer_index among them, got 3 of 3"), ({"answer_index": True}, "got True"),
    ({"answer_index": -1}, "got -1"), ({"options": ["a"] * 11}, "expected 2 to 10 options")])
def test_rows_that_make_no_sample(changes, message):
    with pytest.raises(UserError, match=message):
        sample_from_row(row("7", "B", **changes))


def test_a_row_that_lacks_fields_says_which():
    with pytest.raises(UserError, match="lacks options, answer_index, completion; it has: id, question, task"):
        sample_from_row({"id": "1", "task": "path", "question": "?"})


def test_images_are_found_by_content(tmp_path):
    Image.new("RGB", (4, 3), (9, 8, 7)).save(tmp_path / "any name.png")
    content = (tmp_path / "any name.png").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    find = folder_images(tmp_path)
    found = sample_from_row(row("1", "B", image_sha256=digest), find).image
    assert found.read() == content and found.open().size == (4, 3)
    assert isinstance(sample_from_row(row("1", "B"), find).image, AbsentImage)
    (tmp_path / "any name.png").write_bytes(b"changed")
    with pytest.raises(ImageProblem, match="was changed"):
        found.read()
    with pytest.raises(UserError, match="no image folder"):
        folder_images(tmp_path / "nowhere")


def test_images_from_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "drawn_images.py").write_text("def image(row):\n    return row['id']\n", encoding="utf-8")
    info = tmp_path / "drawn_images-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: drawn-images\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[pathvlm_bench.images]\ndrawn = drawn_images:image\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert sample_from_row(row("9", "B", suite="drawn")).image == "9"


def test_broken_lines_are_named_and_a_torn_end_is_passed_over(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text('{"id": 1}\n\n{"id": 2}\n{"id": ', encoding="utf-8")
    assert [made["id"] for made in rows(path)] == [1, 2]
    for bad in ('{"id": 1}\n{"id": \n{"id": 2}\n', "[1]\n"):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(UserError, match=r"samples.jsonl, line [12]: .*expected one JSON object a line"):
            list(rows(path))
    with pytest.raises(UserError, match="cannot read"):
        list(rows(tmp_path / "none.jsonl"))
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(UserError, match="cannot read"):
        list(rows(path))


# --- lines and means ------------------------------------------------------------------------------------------

def test_lines_hold_the_contracts_fields(tmp_path):
    reward = rewards.load("dual", judge=ScriptedJudge({"Crowded": {"contradiction": True}}))
    outcome = score(tmp_path, reward)
    made = lines(tmp_path)
    assert [line["id"] for line in made] == list(ANSWERS)
    assert {"id", "task", "condition", "fingerprint", "total", "scores", "judge", "usage"} <= set(made[0])
    assert set(made[0]["scores"][0]) == {"part", "value", "reason", "failure", "detail"}
    assert made[1]["scores"][3]["value"] == 0.6 and made[1]["scores"][3]["detail"]["defects"] == ["contradiction"]
    assert made[0]["judge"]["backend"] == "test@1" and made[0]["fingerprint"] == reward.fingerprint
    assert outcome.scored == 7 and outcome.kept == 0 and outcome.calls == 7 and outcome.cost_usd == 3.5
    assert outcome.means["format"].mean == pytest.approx(4 / 7) and outcome.means["format"].n_scored == 7
    assert outcome.means["knowledge"].mean == pytest.approx((6 + 0.6) / 7)


def test_missing_scores_are_counted_and_not_averaged(tmp_path):
    made = [*ROWS, row("error", "", finish_reason="error", error="reset")]
    outcome = score(tmp_path, rewards.load("dual", judge=ScriptedJudge({"Crowded": None})), made)
    mean = outcome.means["integrity"]
    assert (mean.n, mean.n_scored, mean.mean) == (8, 6, 1.0)
    assert mean.failures == {"timeout": 1, "completion-error": 1}
    assert outcome.means["total"].n_scored == 6
    assert Mean().mean is None


def test_conditions_are_apart(tmp_path):
    made = [row("1", ANSWERS["gold"]), row("1", ANSWERS["wrong"], condition="blind")]
    score(tmp_path, rewards.load("outcome"), made)
    assert [(line["condition"], line["total"]) for line in lines(tmp_path)] == [("plain", 2), ("blind", 1)]


def test_text_of_any_kind_survives(tmp_path):
    made = [row("\u2028 id\n", "\ud800 \u2028 <answer>B</answer>"), row("2", "=cmd|' /C calc'!A0")]
    outcome = score(tmp_path, rewards.load("outcome"), made)
    assert outcome.scored == 2 and lines(tmp_path)[0]["id"] == "\u2028 id\n"
    assert score(tmp_path, rewards.load("outcome"), made).scored == 0


# --- resume -------------------------------------------------------------------------------------------------

def test_what_is_finished_is_not_scored_again(tmp_path):
    judge = ScriptedJudge()
    reward = rewards.load("dual", judge=judge)
    score(tmp_path, reward, ROWS[:3])
    before = (tmp_path / "scores.jsonl").read_bytes()
    outcome = score(tmp_path, reward)
    assert (outcome.scored, outcome.kept, judge.calls) == (4, 3, 7)
    assert (tmp_path / "scores.jsonl").read_bytes().startswith(before), "append-only"
    assert outcome.means["format"].n == 7, "means are over all, not over the new ones"


def test_another_reward_goes_into_the_same_file(tmp_path):
    judge = ScriptedJudge()
    score(tmp_path, rewards.load("dual", judge=judge))
    outcome = score(tmp_path, rewards.load("dual", judge=judge, penalty=0.3))
    assert outcome.scored == 7 and len(lines(tmp_path)) == 14
    assert len({line["fingerprint"] for line in lines(tmp_path)}) == 2


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_last_line_is_cut_off_and_scored_again(tmp_path, cut):
    score(tmp_path, rewards.load("outcome"))
    whole = (tmp_path / "scores.jsonl").read_bytes()
    (tmp_path / "scores.jsonl").write_bytes(whole[:-cut])
    assert score(tmp_path, rewards.load("outcome")).scored == 1
    assert (tmp_path / "scores.jsonl").read_bytes() == whole


def test_a_file_that_is_one_torn_line(tmp_path):
    (tmp_path / "scores.jsonl").write_bytes(b'{"id": "gold", "task"')
    assert score(tmp_path, rewards.load("outcome")).scored == 7


def test_outages_are_asked_again_and_final_failures_are_not(tmp_path):
    out = ScriptedJudge({"Crowded": None})
    reward = rewards.load("dual", judge=out)
    score(tmp_path, reward)
    out.replies = {"Crowded": {"contradiction": True}}
    out.calls = 0
    outcome = score(tmp_path, reward)
    assert outcome.fingerprint != "" and out.calls == 1 and outcome.scored == 1
    assert len(lines(tmp_path)) == 7, "the superseded line is gone"
    assert outcome.means["knowledge"].n_scored == 7

    class Refuses(ScriptedJudge):
        async def ask(self, request):
            self.calls += 1
            return await super().ask(request) if "Crowded" not in request.context["chain"] else _refusal()

    judge = Refuses()
    reward = rewards.load("dual", judge=judge, penalty=0.2)
    score(tmp_path, reward)
    judge.calls = 0
    assert score(tmp_path, reward).scored == 0 and judge.calls == 0


def _refusal():
    return JudgeReply(failure="refusal", reason="declined", calls=1)


def test_an_image_that_was_not_at_hand_is_asked_again(tmp_path):
    class Sees(ScriptedJudge):
        async def ask(self, request):
            try:
                request.image.read()
            except ImageProblem:
                return JudgeReply(failure="bad-image", reason="not at hand")
            return await super().ask(request)

    reward = rewards.load("dual", judge=Sees())
    assert score(tmp_path, reward).means["integrity"].n_scored == 0
    outcome = score(tmp_path, reward, images=lambda _: NoImage())
    assert outcome.scored == 7 and outcome.means["integrity"].n_scored == 7


def test_an_answer_that_changed_is_scored_again(tmp_path):
    made = [row("1", "", finish_reason="error", error="reset"), row("2", "B")]
    reward = rewards.load("outcome")
    assert score(tmp_path, reward, made).means["total"].n_scored == 1
    made[0] = row("1", ANSWERS["gold"])
    outcome = score(tmp_path, reward, made)
    assert outcome.scored == 1 and outcome.means["total"].n_scored == 2 and len(lines(tmp_path)) == 2


def test_limit(tmp_path):
    outcome = score(tmp_path, rewards.load("outcome"), limit=2)
    assert outcome.scored == 2 and outcome.means["total"].n == 2
    assert score(tmp_path, rewards.load("outcome")).scored == 5


def test_two_at_once_are_refused(tmp_path):
    reward = rewards.load("dual", judge=ScriptedJudge(wait_s=0.05))
    samples = write_rows(tmp_path / "samples.jsonl", ROWS)

    async def both():
        tasks = [score_file(samples, reward, tmp_path / "scores.jsonl", progress=False) for _ in range(2)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = asyncio.run(both())
    assert first.scored == 7 and isinstance(second, UserError) and "another run is writing" in str(second)


class SlowJudge(ScriptedJudge):
    """Leaves a mark for each call, so that a parent process can count."""

    def __init__(self, folder):
        super().__init__(wait_s=0.01)
        self.folder = folder

    def identity(self):
        return "slow"

    async def ask(self, request):
        reply = await super().ask(request)
        (Path(self.folder) / f"{request.label}.{time.monotonic_ns()}").touch()
        return reply


def _score_in_a_process(folder):
    reward = rewards.load("dual", judge=SlowJudge(f"{folder}/calls"))
    asyncio.run(score_file(Path(folder) / "samples.jsonl", reward, Path(folder) / "scores.jsonl", progress=False,
                           concurrency=2))


def test_killed_at_any_moment_and_resumed(tmp_path):
    count = 60
    write_rows(tmp_path / "samples.jsonl", [row(str(i), f"<think>{i}</think><answer>B</answer>") for i in range(count)])
    (tmp_path / "calls").mkdir()
    context = multiprocessing.get_context("fork")
    kills = 0
    for wait_s in (0.05, 0.09, 0.13, 0.06, 0.11):
        child = context.Process(target=_score_in_a_process, args=(str(tmp_path),))
        child.start()
        time.sleep(wait_s)
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
    _score_in_a_process(str(tmp_path))
    made = lines(tmp_path)
    assert kills >= 2 and sorted(int(line["id"]) for line in made) == list(range(count))
    assert all(line["total"] == 2.0 + 0.0 for line in made), "format 1, accuracy strict 0, process 1"
    asked = len(list((tmp_path / "calls").iterdir()))
    assert count <= asked <= count + kills * 8, "at most the window in flight is asked again"


def test_events_names_are_those_of_the_rubric():
    assert list(rubric_events()) == list(CLEAN)
