"""Phantom answers with known flaws: audit, stage two of a run and TRL's adapter all find the constructed truth."""

import asyncio
import json

import pytest
from reward_cases import row, write_rows

from rewards import audit
from rewards.adapters import TRLReward
from rewards.errors import UserError
from tasks.phantom.teacher import Teacher, training_rows

FLAWED = Teacher(skip_image=0.3, skip_elimination=0.3, skip_rule=0.3, definition_violated=0.3, contradiction=0.3,
                 outdated=0.3)
STEPS = ("image_features", "options_eliminated", "knowledge_cited")
ERRORS = ("definition_violated", "contradiction", "outdated_criterion")


@pytest.fixture(scope="module")
def taught():
    return [made for task in ("path", "ct", "derm", "fundus", "oct")
            for made in training_rows(task, "test", n=12, teacher=FLAWED)]


@pytest.fixture
def folder(tmp_path, taught):
    write_rows(tmp_path / "samples.jsonl", [
        row(made.sample.id, made.target, suite="phantom", task=made.sample.task, question=made.sample.question,
            options=list(made.sample.options), answer_index=made.sample.answer_index,
            image_sha256="0" * 64, reference=made.sample.reference, facts=dict(made.sample.facts or {}))
        for made in taught])
    return tmp_path


def truth(made, penalty):
    missing = sum(not made.events[name] for name in STEPS)
    found = sum(made.events[name] for name in ERRORS)
    return max(0.0, 1 - penalty * missing), max(0.0, 1 - penalty * found)


@pytest.mark.parametrize("penalty", [0.4, 0.3, 0.5])
def test_the_audit_finds_the_constructed_truth(folder, taught, penalty, capsys):
    out = folder / "out.jsonl"
    audit.main([str(folder), "--reward", "dual", "--judge", "rules", "--penalty", str(penalty), "--out", str(out),
                "--quiet"])
    lines = {line["id"]: line for line in map(json.loads, out.read_text().splitlines())}
    assert len(lines) == len(taught) == 60
    for made in taught:
        values = {score["part"]: score["value"] for score in lines[made.sample.id]["scores"]}
        assert (values["integrity"], values["knowledge"]) == pytest.approx(truth(made, penalty)), made.target
    seen = {truth(made, penalty) for made in taught}
    assert len(seen) > 4, "the flaws are there to be found"
    assert "60/60" in capsys.readouterr().out


def test_trls_adapter_gives_the_same_totals(folder, taught):
    out = folder / "out.jsonl"
    audit.main([str(folder), "--reward", "dual", "--judge", "rules", "--out", str(out), "--quiet"])
    stored = [json.loads(line)["total"] for line in out.read_text().splitlines()]
    reward = TRLReward("dual", judge="rules")
    totals = asyncio.run(reward(
        prompts=[made.prompt for made in taught],
        completions=[[{"role": "assistant", "content": made.target}] for made in taught],
        question=[made.sample.question for made in taught], options=[list(made.sample.options) for made in taught],
        answer_index=[made.sample.answer_index for made in taught], task=[made.sample.task for made in taught],
        facts=[json.dumps(dict(made.sample.facts or {})) for made in taught]))
    assert totals == pytest.approx(stored)


def test_rules_refuse_answers_without_facts(tmp_path):
    write_rows(tmp_path / "samples.jsonl", [row("1", "<think>x</think><answer>B</answer>")])
    with pytest.raises(UserError, match="and 1 has none"):
        audit.main([str(tmp_path), "--reward", "dual", "--judge", "rules", "--quiet"])


def test_controls_are_left_out_of_the_mean(tmp_path, capsys):
    write_rows(tmp_path / "samples.jsonl", [
        row("1", "<think>x</think><answer>B</answer>"), row("1", "no", condition="blind")])
    audit.main([str(tmp_path), "--reward", "outcome", "--quiet"])
    assert "1/1" in capsys.readouterr().out
    audit.main([str(tmp_path), "--reward", "outcome", "--condition", "all", "--quiet"])
    assert "2/2" in capsys.readouterr().out
