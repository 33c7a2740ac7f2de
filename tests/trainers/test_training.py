"""Real training on the model in the package: what a stage leaves, how it resumes, and what stops it."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from training_cases import RECIPE, advantages, lines, weights

from bench.models.checkpoint import BUILT_IN, fingerprint, training
from rewards import audit
from rewards.errors import UserError
from rewards.judges.base import JudgeBackend, JudgeError, JudgeReply
from rewards.judges.registry import judge_backend
from trainers import checkpoints
from trainers.run import main

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def train(recipe: Path, out: Path, *more: str) -> Path:
    main([str(recipe), "--out", str(out), "--train-only", *more])
    return out / "seed-5"


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Both stages, undisturbed."""
    folder = tmp_path_factory.mktemp("family")
    recipe = folder / "small.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return recipe, train(recipe, folder / "out")


@judge_backend("sulky")
class SulkyJudge(JudgeBackend):
    """Answers once, to be found alive, and never again."""

    sees_images = True
    asked = 0

    async def ask(self, request) -> JudgeReply:
        SulkyJudge.asked += 1
        if SulkyJudge.asked > 1:
            raise JudgeError("refusal", "not today")
        verdict = {name: {"evidence": "", "verdict": "no"} for name in request.expect.names}
        return JudgeReply(text=json.dumps(verdict), model="sulky-1")


def test_every_completion_is_logged_with_its_advantage(family):
    _, stages = family
    rows, scores = (lines(stages / "beta" / "rollouts" / name) for name in ("samples.jsonl", "scores.jsonl"))
    assert len(rows) == len(scores) == 6 * 8
    assert len({row["id"] for row in rows}) == len(rows)
    for start in range(0, len(rows), 4):
        group, totals = rows[start:start + 4], [line["total"] for line in scores[start:start + 4]]
        assert len({row["id"].partition("#")[0] for row in group}) == 1
        assert [row["advantage"] for row in group] == pytest.approx(advantages(totals), abs=1e-4)
    assert any(row["advantage"] for row in rows), "some group has different rewards"


def test_a_run_can_be_audited(family, capsys):
    _, stages = family
    folder = stages / "beta" / "rollouts"
    audit.main([str(folder), "--reward", "dual", "--judge", "rules", "--quiet"])
    said = capsys.readouterr().out
    assert "the same reward, 0 part values differ" in said and "48/48" in said


def test_a_checkpoint_says_how_it_was_made_and_loads_anywhere(family):
    _, stages = family
    for name in ("alpha", "beta"):
        folder = stages / name / "checkpoint"
        assert {path.name for path in folder.iterdir()} == {path.name for path in BUILT_IN["phantom-tiny"].iterdir()}
        assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # who reads one file reads all
    told = training(str(stages / "beta" / "checkpoint"))
    assert told["variant"] == "beta" and told["parent"] == "alpha" and told["steps"] == 6
    assert told["parent_fingerprint"] == fingerprint(stages / "alpha" / "checkpoint")
    assert told["reward"]["name"] == "dual" and told["reward"]["judge"]["backend"].startswith("rules")
    from bench.models.base import Decoding, Options, resolve

    resolve(str(stages / "beta" / "checkpoint"), Decoding(max_new_tokens=8), Options(device="cpu"))


def test_frozen_weights_stay_and_others_move(family):
    from safetensors.torch import load_file

    _, stages = family
    before = load_file(BUILT_IN["phantom-tiny"] / "model.safetensors")
    after = load_file(stages / "alpha" / "checkpoint" / "model.safetensors")
    moved = {name for name in before if not before[name].float().equal(after[name].float())}
    assert moved and not any("visual" in name for name in moved)
    assert any("visual" in name for name in before)


def test_every_step_is_logged_and_drawn(family):
    _, stages = family
    sft, grpo = (lines(stages / name / "log.jsonl") for name in ("alpha", "beta"))
    assert [entry["step"] for entry in sft] == list(range(1, 13)) and all("loss" in entry for entry in sft)
    for name in ("reward", "entropy", "kl", "frac_reward_zero_std", "completions/clipped_ratio", "reward/flagged",
                 "clip_ratio/region_mean", "reward/integrity", "completions/mean_length"):
        assert sum(name in entry for entry in grpo) == 6, name
    from PIL import Image

    assert Image.open(stages / "beta" / "curves.png").size[0] > 500


def test_what_is_finished_is_never_trained_again(family, monkeypatch):
    recipe, stages = family
    before = weights(stages / "beta")
    monkeypatch.setattr("trainers.stage._trainer", None)  # calling it would fail
    assert weights(train(recipe, stages.parent) / "beta") == before


def test_another_stage_in_the_same_folder_is_refused_by_name(family):
    recipe, stages = family
    with pytest.raises(UserError, match=r"holds another stage: settings is .* there and"):
        train(recipe, stages.parent, "--set", "grpo.learning_rate=1e-4")


@pytest.mark.parametrize("lora", [False, True])
def test_an_interrupted_stage_ends_with_the_same_weights(family, small, tmp_path, monkeypatch, lora):
    more = ["--set", 'model.lora={r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=true}',
            "--set", "model.freeze=[]"] if lora else []
    whole = train(small, tmp_path / "whole", *more) if lora else family[1]
    mark = checkpoints.Mark.on_save

    def interrupted(self, args, state, control, **rest):
        mark(self, args, state, control, **rest)
        if state.global_step == (8 if "alpha" in args.output_dir else 4):
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.Mark, "on_save", interrupted)
    for _ in ("alpha", "beta"):
        with pytest.raises(KeyboardInterrupt):
            train(small, tmp_path / "broken", *more)
    monkeypatch.setattr(checkpoints.Mark, "on_save", mark)
    broken = train(small, tmp_path / "broken", *more)
    assert [weights(broken / name) for name in ("alpha", "beta")] == [weights(whole / n) for n in ("alpha", "beta")]
    if lora:
        assert (whole / "alpha" / "checkpoint" / "config.json").is_file()
        assert not list((whole / "alpha" / "checkpoint").glob("adapter*"))
        assert weights(whole / "alpha") != weights(whole / "beta")


def test_a_full_disk_keeps_the_last_good_checkpoint(family, small, tmp_path, monkeypatch):
    from transformers import Trainer

    save = Trainer._save_optimizer_and_scheduler

    def full(self, folder):
        if self.state.global_step == 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, folder)

    monkeypatch.setattr(Trainer, "_save_optimizer_and_scheduler", full)
    with pytest.raises(UserError, match=r"seed 5, alpha: the disk is full .* checkpoint 4 is kept: free space"):
        train(small, tmp_path / "out")
    left = [path.name for path in (tmp_path / "out" / "seed-5" / "alpha" / "trainer").glob("checkpoint-*")]
    assert left == ["checkpoint-4"]
    monkeypatch.setattr(Trainer, "_save_optimizer_and_scheduler", save)
    assert weights(train(small, tmp_path / "out", "--variants", "alpha") / "alpha") == weights(family[1] / "alpha")


def test_a_judge_that_stops_answering_stops_the_run(small, tmp_path):
    SulkyJudge.asked = 0
    with pytest.raises(UserError, match=r"training stopped: 100 % of the last 16 completions .* \(.*refusal\)"):
        train(small, tmp_path / "out", "--set", "variants.beta.judge=sulky", "--set", "guard.window=16",
              "--set", "sft.max_steps=1")
    rows = lines(tmp_path / "out" / "seed-5" / "beta" / "rollouts" / "samples.jsonl")
    assert len(rows) == 8 and {row["advantage"] for row in rows} == {0.0}, "no reward, no advantage"


def test_a_parent_of_another_shape_is_refused(family, small, tmp_path):
    from bench import tiny

    tiny.build(tmp_path / "other", tiny.Shape(hidden=64, layers=1))
    import shutil

    shutil.copy(BUILT_IN["phantom-tiny"] / "config.json", tmp_path / "other" / "config.json")
    with pytest.raises(UserError, match=r"lacks .* weights that its config.json asks for"):
        train(small, tmp_path / "out", "--base", str(tmp_path / "other"))
    assert not list((tmp_path / "out").rglob("model.safetensors"))


def test_sampling_from_another_model_is_noticed():
    from types import SimpleNamespace

    from trainers.stage import _Watch

    watch, state = _Watch(0.1), SimpleNamespace(global_step=7)
    watch.on_log(None, state, None, logs={"sampling/sampling_logp_difference/mean": 0.02})
    watch.on_log(None, state, None, logs={"reward": 1.0})
    for value in (0.2, float("nan")):
        with pytest.raises(UserError, match="stopped at step 7: log-probabilities of vLLM and of the trainer differ"):
            watch.on_log(None, state, None, logs={"sampling/sampling_logp_difference/mean": value})
