"""Trainer settings of a recipe as TRL's own configuration, with the global batch spread over the processes at hand.

    plan = spread(recipe.grpo | variant.set, "grpo", where="grpo", processes=2)
    plan.batch_size, plan.per_device, plan.accumulation          # 64, 32, 1
    config = build(plan, folder, seed=1)                          # trl.GRPOConfig

Every key is one of TRL's (with a did-you-mean), except those that this project sets itself. So one recipe runs from
two CPU cores to a cluster: `batch_size` is the number of samples an optimiser step, whoever computes them.
Imports trl on use.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from rewards.errors import UserError, suggest

BATCH = {"sft": 32, "grpo": 64}
"""Global batch where a recipe names none."""

OWN = ("batch_size", "micro_batch_size")
TAKEN = {
    "output_dir": "the runner's --out", "seed": "the recipe's seeds", "data_seed": "the recipe's seeds",
    "per_device_train_batch_size": "batch_size and micro_batch_size", "reward_weights": "the reward's own weights",
    "gradient_accumulation_steps": "batch_size and micro_batch_size", "use_cpu": "the machine",
    "remove_unused_columns": "the runner", "resume_from_checkpoint": "the runner, which resumes by itself",
    "trust_remote_code": "nothing: it stays off", "push_to_hub": "nothing: checkpoints stay here",
    "save_strategy": "save_steps", "completion_only_loss": "the runner", "max_length": "nothing: images are never cut",
    "save_only_model": "nothing: a stage must be able to resume", "eval_strategy": "score", "do_eval": "score",
    "ignore_data_skip": "nothing: a resumed stage sees the data it had not seen", "model_init_kwargs": "[model]",
    "dataset_kwargs": "the runner", "log_completions_hub_repo": "nothing: completions stay here",
    "auto_find_batch_size": "nothing: the batch is the recipe's on every machine",
}
"""Settings that are not the recipe's to choose, and where they come from instead."""
_COUNTS = ("num_generations", "num_iterations", "steps_per_generation", "generation_batch_size")
_KINDS: Mapping[Any, Any] = {int: int, float: (int, float), bool: bool}
_NAMES: Mapping[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Batching:
    """Settings of one stage, checked. `per_device` x `accumulation` x processes = `batch_size`."""

    stage: str
    settings: Mapping[str, Any]
    batch_size: int
    per_device: int
    accumulation: int

    @property
    def group(self) -> int:
        """Completions of one prompt; 1 for SFT."""
        return int(self.settings.get("num_generations", 8)) if self.stage == "grpo" else 1

    def steps(self, rows: int) -> int:
        """Optimiser steps over `rows` rows, as TRL counts them."""
        wanted = int(self.settings.get("max_steps", -1))
        if wanted > 0:
            return wanted
        epochs = float(self.settings.get("num_train_epochs", 3.0))
        if self.stage == "sft":
            if self.settings.get("dataloader_drop_last", True):  # what is dropped are forward passes, not steps
                rows = rows // (self.batch_size // self.accumulation) * (self.batch_size // self.accumulation)
            return -int(-(epochs * -(-rows // self.batch_size)) // 1)
        generated = self.settings.get("generation_batch_size") or \
            self.settings.get("steps_per_generation", self.accumulation) * self.batch_size // self.accumulation
        completions = rows // (generated // self.group) * generated * int(self.settings.get("num_iterations", 1))
        return -int(-(epochs * -(-completions // self.batch_size)) // 1)


def spread(settings: Mapping[str, Any], stage: str, where: str, processes: int) -> Batching:
    """Check the keys and divide the batch. Raises UserError."""
    types = {field.name: field.type for field in fields(_config_class(stage))}
    known = list(types)
    for key, value in settings.items():
        if key in TAKEN:
            raise UserError(f"{where}.{key} is not a recipe's to set: it comes from {TAKEN[key]}")
        if key not in known and key not in OWN:
            raise UserError(f"{where}: unknown setting {key!r}{suggest(key, [*OWN, *known])}; settings are those of "
                            f"TRL's {_config_class(stage).__name__}, batch_size and micro_batch_size")
        # TRL and transformers check no types, and fail at the first step
        kinds = [kind for kind in get_args(types.get(key)) or (types.get(key),) if kind is not NoneType]
        if len(kinds) == 1 and kinds[0] in _KINDS and \
                (not isinstance(value, _KINDS[kinds[0]]) or isinstance(value, bool) is not (kinds[0] is bool)):
            raise UserError(f"{where}.{key} {value!r}: expected {_NAMES[kinds[0]]}")
        if key in _COUNTS:
            _count(settings, key, 1, where)
    batch = _count(settings, "batch_size", BATCH[stage], where)
    if batch % processes:
        raise UserError(f"{where}.batch_size {batch} does not divide by the {processes} processes of this run")
    micro = _count(settings, "micro_batch_size", batch // processes, where)
    if (batch // processes) % micro:
        raise UserError(f"{where}.micro_batch_size {micro} does not divide the {batch // processes} samples that each "
                        f"of {processes} processes has of a batch of {batch}")
    made = Batching(stage, {key: value for key, value in settings.items() if key not in OWN}, batch, micro,
                    batch // processes // micro)
    if stage == "grpo" and batch % made.group:
        raise UserError(f"{where}.batch_size {batch} completions do not divide into groups of num_generations = "
                        f"{made.group}")
    return made


def build(made: Batching, folder: Path, seed: int, where: str) -> Any:
    """TRL's configuration object. Raises UserError with TRL's own words when it refuses a value."""
    import torch

    on_cpu = not torch.cuda.is_available()
    own = {"output_dir": str(folder), "seed": seed, "data_seed": seed, "per_device_train_batch_size": made.per_device,
           "gradient_accumulation_steps": made.accumulation, "use_cpu": on_cpu, "remove_unused_columns": False,
           "save_strategy": "steps"}
    chosen = {"bf16": not on_cpu, "gradient_checkpointing": not on_cpu, "report_to": [], "logging_steps": 1,
              "logging_first_step": True, "save_steps": 100, "save_total_limit": 2,
              "disable_tqdm": True, "dataloader_pin_memory": not on_cpu}
    if made.stage == "sft":
        chosen["dataloader_drop_last"] = True  # several processes would fill up a last batch, one does not
        own |= {"max_length": None, "completion_only_loss": True, "dataset_kwargs": {"skip_prepare_dataset": True}}
    else:
        chosen |= {"num_completions_to_print": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _config_class(made.stage)(**{**chosen, **made.settings, **own})
        except (ValueError, TypeError, AttributeError, ImportError) as problem:
            raise UserError(f"{where}: {_config_class(made.stage).__name__} refuses these settings: {problem}") \
                from problem


def _count(settings: Mapping[str, Any], key: str, default: int, where: str) -> int:
    value = settings.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{where}.{key} {value!r}: expected a whole number of 1 or more")
    return value


def _config_class(stage: str) -> Any:
    if stage == "sft":
        from trl import SFTConfig

        return SFTConfig
    from trl import GRPOConfig

    return GRPOConfig
