"""Models and processors as they are trained.

    model = load(parent, recipe.model, weights=checkpoint_or_None)
    processor = load_processor(parent, model.config.model_type, recipe.model.max_pixels)

For full fine-tuning a resumed stage takes its weights from its checkpoint *here*: transformers 5.19 restores optimiser,
random state and data order of a Qwen2.5-VL but leaves the weights it was given (key names differ, transformers #43701).
The name of the loaded model stays the parent's, because TRL reads the reference of the KL term from that name.
Imports torch and transformers on use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.models.checkpoint import read_config
from bench.models.weights import load_model
from rewards.errors import UserError
from trainers.recipe import Model


def load(parent: Path, settings: Model, weights: Path | None = None) -> Any:
    """The model in `parent` with the weights in `weights` (None: its own), frozen as asked for. Raises UserError."""
    import torch

    source = weights if weights is not None and settings.lora is None else parent
    read_config(source)
    model = load_model(source, getattr(torch, settings.dtype), f"checkpoint {source}")
    model.config._name_or_path = str(parent)
    freeze(model, settings.freeze)
    return model


@contextmanager
def unsharded() -> Iterator[None]:
    """For one process that loads a whole model: under ZeRO-3 transformers would deal it out and wait for the others."""
    from transformers.integrations import deepspeed

    held = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = held


def freeze(model: Any, beginnings: tuple[str, ...]) -> None:
    """Freeze every parameter whose name begins with one of `beginnings`. Raises UserError for one that fits none."""
    for beginning in beginnings:
        found = [weight for name, weight in model.named_parameters() if name.startswith(beginning)]
        if not found:
            tops = sorted({".".join(name.split(".")[:2]) for name, _ in model.named_parameters()})
            raise UserError(f"model.freeze: no parameter begins with {beginning!r}; this model has {', '.join(tops)}")
        for weight in found:
            weight.requires_grad_(False)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UserError("model.freeze leaves nothing to train")


def adapter(settings: Model) -> Any:
    """peft's LoraConfig, None for full fine-tuning. Raises UserError."""
    if settings.lora is None:
        return None
    from peft import LoraConfig

    try:
        return LoraConfig(**{"task_type": "CAUSAL_LM", **settings.lora})
    except (TypeError, ValueError) as problem:
        raise UserError(f"model.lora: {problem}; expected settings of peft's LoraConfig") from problem
