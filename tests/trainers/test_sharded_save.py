"""Under ZeRO-3 transformers deals a model out to all processes as it loads; the one that saves needs all of it."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers.integrations import deepspeed

from bench.models.checkpoint import locate
from trainers import stage
from trainers.loading import unsharded
from trainers.recipe import Model
from trainers.world import World


@pytest.fixture
def zero3(monkeypatch):
    held = SimpleNamespace(is_zero3=lambda: True)
    monkeypatch.setattr(deepspeed, "_hf_deepspeed_config_weak_ref", lambda: held)
    assert deepspeed.is_deepspeed_zero3_enabled()


def test_sharding_is_off_for_a_moment_and_comes_back_after_an_error(zero3):
    with pytest.raises(RuntimeError, match="mine"), unsharded():
        assert not deepspeed.is_deepspeed_zero3_enabled()
        raise RuntimeError("mine")
    assert deepspeed.is_deepspeed_zero3_enabled()


def test_the_saving_process_loads_a_whole_model(zero3, tmp_path):
    """It used to wait for the other processes, forever; here, for want of DeepSpeed, it used to fail."""
    parent = locate("phantom-tiny")
    job = SimpleNamespace(recipe=SimpleNamespace(model=Model(save_dtype="bfloat16")), parent=parent)
    trainer = SimpleNamespace(save_model=lambda folder: shutil.copytree(parent, folder))
    stage._save(job, trainer, tmp_path / "part", World())
    saved = load_file(tmp_path / "part" / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}
    assert deepspeed.is_deepspeed_zero3_enabled()
