"""One stage: from a parent's checkpoint to a variant's, on TRL, resumable at any moment.

    train(Job(...), world)            # STAGE/checkpoint stands afterwards

    STAGE/stage.json      what is trained here; another stage in the same folder is refused by name
    STAGE/trainer/        checkpoints while it runs       STAGE/log.jsonl, curves.png     every logged step
    STAGE/rollouts/       GRPO: every completion with parts, verdicts and advantage
    STAGE/checkpoint/     the result

Imports torch, transformers and trl: only `trainers.run` imports this, once the recipe has been checked.
"""

from __future__ import annotations

import gc
import json
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, set_seed
from trl import GRPOTrainer, SFTTrainer

from bench.manifest import versions, write_json
from bench.models.checkpoint import fingerprint, read_config
from rewards.errors import UserError
from rewards.judges.processor import load_processor
from rewards.reward import Reward
from trainers import curves, settings
from trainers.checkpoints import Mark, disk_guard, finish, last_good
from trainers.examples import Examples, rows
from trainers.loading import adapter, load, unsharded
from trainers.progress import Progress
from trainers.recipe import Recipe, digest
from trainers.rollouts import GroupReward, Rollouts
from trainers.settings import Batching
from trainers.world import World


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that one stage needs. `reward` belongs to GRPO."""

    recipe: Recipe
    name: str
    parent_name: str
    parent: Path
    folder: Path
    seed: int
    data_name: str
    examples: Examples
    batching: Batching
    reward: Reward | None = None

    @property
    def where(self) -> str:
        """For messages: "seed 1, beta"."""
        return f"seed {self.seed}, {self.name}"


def identity(job: Job) -> dict[str, Any]:
    """What decides the weights of a stage, JSON-able; the number of processes does not."""
    return dict(json.loads(json.dumps({
        "variant": job.name, "parent": job.parent_name, "parent_fingerprint": fingerprint(job.parent),
        "stage": job.batching.stage, "seed": job.seed, "data": job.data_name, "data_sha256": job.examples.sha256,
        "settings": {**job.batching.settings, "batch_size": job.batching.batch_size},
        "model": job.recipe.model.model_dump(mode="json", exclude_defaults=True, exclude={"scratch"}),
        "reward": None if job.reward is None else
        {"name": job.reward.name, "fingerprint": job.reward.fingerprint, "judge": job.reward.judge_identity},
    })))


def train(job: Job, world: World) -> Path:
    """Train, or finish training, one stage; returns its checkpoint. Raises UserError."""
    out = job.folder / "checkpoint"
    world.on_main(lambda: _begin(job))
    trainer_folder = job.folder / "trainer"
    if out.is_dir():
        if world.main:
            shutil.rmtree(trainer_folder, ignore_errors=True)  # left by a kill after the last rename
        return out
    clock = _Clock(job.folder / "time.json")
    with disk_guard(trainer_folder, job.where):
        good = world.on_main(lambda: last_good(trainer_folder))
        trainer, reward = _trainer(job, world, good, clock)
        progress = Progress(job.where)
        for printing in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(printing)
        trainer.add_callback(progress)
        try:
            trainer.train(resume_from_checkpoint=None if good is None else str(good[0]))
            _log(job, trainer, world)
            manifest = {"what": f"variant {job.name} of recipe {job.recipe.name!r}",
                        "recipe_sha256": job.recipe.digest, **identity(job), "steps": trainer.state.global_step,
                        "processes": world.size, "wall_s": round(clock.spent_s, 1), "versions": versions()}
            finish(out, job.parent, lambda part: _save(job, trainer, part, world), world, manifest)
        finally:
            progress.stop()
            if reward is not None:
                reward.close()
    if world.main:
        shutil.rmtree(trainer_folder, ignore_errors=True)
    _free(trainer)
    world.wait()
    return out


class _Watch(TrainerCallback):
    """Stops when vLLM samples from another model than the one that is trained."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """`logs` has the difference only where vLLM generates."""
        found = (logs or {}).get("sampling/sampling_logp_difference/mean")
        if found is not None and not found <= self.limit:
            raise UserError(f"training stopped at step {state.global_step}: log-probabilities of vLLM and of the "
                            f"trainer differ by {found:.3f} nats a token, more than guard.max_logp_difference = "
                            f"{self.limit:g}: vLLM samples from another model or prompt; generate with transformers "
                            "(grpo.use_vllm = false) or find the cause")


class _Clock(TrainerCallback):
    """Adds up the time that a stage takes over all its parts; what a killed part did after its checkpoint is lost."""

    def __init__(self, path: Path) -> None:
        self.path, self.start = path, time.monotonic()
        try:
            self.before = float(json.loads(path.read_text(encoding="utf-8"))["wall_s"])
        except (OSError, ValueError, KeyError, TypeError):
            self.before = 0.0

    @property
    def spent_s(self) -> float:
        """Seconds over all parts."""
        return self.before + time.monotonic() - self.start

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """With every checkpoint."""
        if state.is_world_process_zero:
            write_json(self.path, {"wall_s": self.spent_s})


class _Grpo(GRPOTrainer):
    """TRL's trainer, whose advantages are written beside the completions they belong to."""

    rollouts: GroupReward

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)
        self.rollouts.log_advantages(list(self._logs["advantages"]))
        return output


def _trainer(job: Job, world: World, good: tuple[Path, int] | None, clock: _Clock) -> tuple[Any, GroupReward | None]:
    recipe = job.recipe
    config = settings.build(job.batching, job.folder / "trainer", job.seed, job.batching.stage)
    set_seed(job.seed)
    model = load(job.parent, recipe.model, None if good is None else good[0])
    processor = load_processor(job.parent, read_config(job.parent)["model_type"], recipe.model.max_pixels)
    shared = {"model": model, "args": config, "train_dataset": rows(job.examples, job.batching.stage),
              "processing_class": processor, "peft_config": adapter(recipe.model),
              "callbacks": [Mark(world), clock, _Watch(recipe.guard.max_logp_difference)]}
    try:
        if job.reward is None:
            trainer = SFTTrainer(**shared)
            # transformers 5.19 says False for Qwen2.5-VL; then every micro-batch is averaged on its own, and the loss
            # depends on how many processes share a batch. TRL computes this loss itself, over the tokens of all.
            trainer.model_accepts_loss_kwargs = True
            return trainer, None
        rollouts = Rollouts(job.folder / "rollouts")
        if world.main:
            rollouts.rewind(0 if good is None else good[1])
        tokenizer = processor.tokenizer
        ends = model.generation_config.eos_token_id
        reward = GroupReward(job.reward, job.examples, world, rollouts, recipe.guard,
                             [tokenizer.pad_token_id, tokenizer.eos_token_id,
                              *(ends if isinstance(ends, list) else [ends])])
        logging.getLogger("trl.trainer.grpo_trainer").setLevel(logging.ERROR)  # it prints whole rows; ours counts
        trainer = _Grpo(reward_funcs=[reward], **shared)
        trainer.rollouts = reward
    except (ValueError, TypeError, ImportError) as problem:
        raise UserError(f"{job.where}: TRL refuses to train this: {problem}") from problem
    return trainer, reward


def _begin(job: Job) -> None:
    """Write down what is trained here, or refuse to go on with something else."""
    path = job.folder / "stage.json"
    wanted = identity(job)
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        names = [key for key in sorted({*stored, *wanted}) if stored.get(key) != wanted.get(key)]
        if names:
            shown = "; ".join(f"{key} is {_short(stored.get(key))} there and {_short(wanted.get(key))} now"
                              for key in names[:4])
            raise UserError(f"{job.folder} holds another stage: {shown}; choose another --out, or repeat that "
                            "recipe's settings to go on with it")
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    write_json(path, wanted)


def _save(job: Job, trainer: Any, part: Path, world: World) -> None:
    """Weights of the whole model as safetensors; a LoRA adapter is merged into its parent first."""
    dtype = getattr(torch, job.recipe.model.save_dtype or job.recipe.model.dtype)
    if job.recipe.model.lora is None:
        trainer.save_model(str(part))
        if world.main and job.recipe.model.save_dtype is not None:
            with unsharded():
                load(part, job.recipe.model.model_copy(update={"freeze": ()})).to(dtype).save_pretrained(part)
        return
    adapted = part / "adapter"
    trainer.save_model(str(adapted))
    if world.main:
        from peft import PeftModel

        with unsharded():
            whole = load(job.parent, job.recipe.model.model_copy(update={"freeze": ()}))
            PeftModel.from_pretrained(whole, adapted).merge_and_unload().to(dtype).save_pretrained(part)


def _log(job: Job, trainer: Any, world: World) -> None:
    entries = [entry for entry in trainer.state.log_history if "train_runtime" not in entry]
    if world.main:
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
        (job.folder / "log.jsonl").write_text(text, encoding="utf-8")
        curves.plot(entries, job.folder / "curves.png", title=f"{job.name}, seed {job.seed}")


def _free(trainer: Any) -> None:
    trainer.accelerator.free_memory()
    trainer.model = trainer.model_wrapped = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:40]}... ({digest(value)[:8]})"
