"""Trainer settings: what is refused, how a global batch is divided, and steps counted as the real trainers count."""

from dataclasses import fields
from types import SimpleNamespace

import pytest
from accelerate.data_loader import prepare_data_loader
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from trl.trainer.utils import RepeatSampler

from rewards.errors import UserError
from trainers.settings import TAKEN, Batching, build, spread


def refused(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


def real_steps(config, rows, processes):
    """Steps that transformers' own code plans over TRL's data loader, as each of the processes sees it."""
    if hasattr(config, "generation_batch_size"):
        sampler = RepeatSampler(range(rows), config.num_generations,
                                config.generation_batch_size // config.num_generations,
                                config.num_iterations * config.steps_per_generation)
        loader = DataLoader(range(rows), config.per_device_train_batch_size * config.steps_per_generation,
                            sampler=sampler)
    else:
        loader = DataLoader(range(rows), config.per_device_train_batch_size, shuffle=True,
                            drop_last=config.dataloader_drop_last)
    loader = prepare_data_loader(loader, num_processes=processes, process_index=0, put_on_device=False,
                                 dispatch_batches=False)
    trainer = SimpleNamespace(get_total_train_batch_size=lambda _: 1, get_sp_size=lambda: 1,
                              num_examples=lambda _: rows)
    return Trainer.set_initial_training_values(trainer, config, loader)[-1]


@pytest.fixture
def world_of(monkeypatch):
    """`world_of(n)`: TRL's configurations take n processes for granted."""
    return lambda n: monkeypatch.setattr(TrainingArguments, "world_size", property(lambda _: n))


# --- keys ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("stage", "key", "hint", "config"), [
    ("sft", "learning_rte", "learning_rate", "SFTConfig"), ("grpo", "num_generation", "num_generations", "GRPOConfig"),
    ("grpo", "batchsize", "batch_size", "GRPOConfig"), ("sft", "microbatch_size", "micro_batch_size", "SFTConfig"),
])
def test_an_unknown_setting_is_named_with_the_closest(stage, key, hint, config):
    assert refused(spread, {key: 1}, stage, "here", 1) == (
        f"here: unknown setting {key!r} (did you mean {hint!r}?); settings are those of TRL's {config}, batch_size and "
        "micro_batch_size")


def test_settings_of_the_other_stage_are_unknown():
    assert refused(spread, {"num_generations": 4}, "sft", "sft", 1).startswith("sft: unknown setting 'num_generations'")
    assert spread({"num_generations": 4}, "grpo", "grpo", 1).settings == {"num_generations": 4}


@pytest.mark.parametrize("key", sorted(TAKEN))
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_what_is_not_the_recipes_says_where_it_comes_from(key, stage):
    assert refused(spread, {key: 1}, stage, "variants.a.set", 1) == (
        f"variants.a.set.{key} is not a recipe's to set: it comes from {TAKEN[key]}")


def test_taken_are_the_settings_that_decide_what_this_project_promises():
    assert {"output_dir", "seed", "data_seed", "trust_remote_code", "push_to_hub", "per_device_train_batch_size",
            "gradient_accumulation_steps", "max_length", "remove_unused_columns"} <= set(TAKEN)


# --- the batch ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("given", "processes", "said"), [
    ({"batch_size": 10}, 4, "g.batch_size 10 does not divide by the 4 processes of this run"),
    ({"batch_size": 16, "micro_batch_size": 3}, 2,
     "g.micro_batch_size 3 does not divide the 8 samples that each of 2 processes has of a batch of 16"),
    ({"batch_size": 16, "micro_batch_size": 16}, 2,
     "g.micro_batch_size 16 does not divide the 8 samples that each of 2 processes has of a batch of 16"),
    ({"batch_size": 16, "num_generations": 6}, 1,
     "g.batch_size 16 completions do not divide into groups of num_generations = 6"),
    ({"batch_size": 12}, 1, "g.batch_size 12 completions do not divide into groups of num_generations = 8"),
    ({"batch_size": 0}, 1, "g.batch_size 0: expected a whole number of 1 or more"),
    ({"batch_size": 2.0}, 1, "g.batch_size 2.0: expected a whole number of 1 or more"),
    ({"batch_size": True}, 1, "g.batch_size True: expected a whole number of 1 or more"),
    ({"micro_batch_size": "4"}, 1, "g.micro_batch_size '4': expected a whole number of 1 or more"),
])
def test_a_batch_that_cannot_be_divided(given, processes, said):
    assert refused(spread, given, "grpo", "g", processes) == said


def test_sft_has_no_groups():
    made = spread({"batch_size": 12}, "sft", "sft", 1)
    assert (made.group, made.per_device, made.accumulation) == (1, 12, 1)


@pytest.mark.parametrize("stage", ["sft", "grpo"])
@pytest.mark.parametrize("extra", [{}, {"micro_batch_size": 4}])
def test_the_global_batch_is_the_same_for_any_number_of_processes(stage, extra, tmp_path, world_of):
    steps = set()
    for processes in (1, 2, 4):
        made = spread({"batch_size": 32, **extra}, stage, stage, processes)
        assert made.per_device * made.accumulation * processes == made.batch_size == 32
        assert made.per_device == extra.get("micro_batch_size", 32 // processes)
        world_of(processes)
        config = build(made, tmp_path, 1, stage)
        assert config.per_device_train_batch_size * config.gradient_accumulation_steps * processes == 32
        if stage == "grpo":
            assert config.generation_batch_size == 32
        steps.add(made.steps(960))
    assert len(steps) == 1


def test_the_default_batches():
    assert spread({}, "sft", "sft", 2).batch_size == 32 and spread({}, "grpo", "grpo", 2).batch_size == 64


# --- steps ----------------------------------------------------------------------------------------------------------

@hypothesis(max_examples=40, deadline=None)
@given(extra=st.integers(0, 300), drop=st.sampled_from([None, False, True]), share=st.sampled_from([1, 4, 12]),
       parts=st.sampled_from([1, 2, 3]), processes=st.sampled_from([1, 2, 4]),
       epochs=st.sampled_from([None, 0.3, 1, 1.5, 2]))
def test_steps_of_sft_are_those_of_the_trainer(extra, drop, share, parts, processes, epochs, tmp_path_factory):
    given_ = {"batch_size": share * parts * processes, "micro_batch_size": share}
    given_ |= {} if epochs is None else {"num_train_epochs": epochs}
    given_ |= {} if drop is None else {"dataloader_drop_last": drop}
    rows = given_["batch_size"] + extra  # `trainers.run` refuses fewer
    made = spread(given_, "sft", "sft", processes)
    config = build(made, tmp_path_factory.getbasetemp(), 1, "sft")
    assert made.steps(rows) == real_steps(config, rows, processes)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("rows", "more"), [
    (100, {}), (100, {"num_generations": 4}), (101, {"num_generations": 2, "micro_batch_size": 8}),
    (100, {"num_train_epochs": 0.4}), (64, {"num_train_epochs": 3, "num_iterations": 2}),
    (100, {"max_steps": 7}), (37, {"batch_size": 16, "num_generations": 8, "micro_batch_size": 4}),
    (100, {"steps_per_generation": 4, "micro_batch_size": 8}), (100, {"generation_batch_size": 128}),
])
def test_steps_of_grpo_are_those_of_the_trainer(rows, more, processes, tmp_path, world_of):
    world_of(processes)
    made = spread({"batch_size": 64, **more}, "grpo", "grpo", processes)
    assert made.steps(rows) == real_steps(build(made, tmp_path, 1, "grpo"), rows, processes)


def test_a_number_of_steps_wins_and_too_few_rows_give_none():
    assert spread({"max_steps": 5, "num_train_epochs": 9}, "sft", "sft", 1).steps(1000) == 5
    assert spread({"batch_size": 64, "num_generations": 8}, "grpo", "grpo", 1).steps(7) == 0
    assert spread({"batch_size": 64, "num_generations": 8}, "grpo", "grpo", 1).steps(8) == 3  # TRL's 3 epochs


# --- TRL's own configuration --------------------------------------------------------------------------------------

def test_what_the_recipe_says_arrives(tmp_path):
    made = spread({"batch_size": 8, "learning_rate": 3e-4, "save_steps": 7, "logging_steps": 3}, "sft", "sft", 1)
    config = build(made, tmp_path, 9, "sft")
    assert (config.learning_rate, config.save_steps, config.logging_steps) == (3e-4, 7, 3)
    assert (config.seed, config.data_seed, config.output_dir) == (9, 9, str(tmp_path))
    assert config.max_length is None and config.completion_only_loss and not config.remove_unused_columns
    assert config.report_to == [] and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("stage", "given", "said"), [
    ("sft", {"lr_scheduler_type": "cosin"}, "g: SFTConfig refuses these settings: cosin is not a valid Sch"),
    ("grpo", {"batch_size": 4, "num_generations": 1}, "g: GRPOConfig refuses these settings: GRPO requires at least 2"),
    ("grpo", {"steps_per_generation": 2, "generation_batch_size": 64},
     "g: GRPOConfig refuses these settings: 'generation_batch_size' and 'steps_per_generation' can not be both"),
    ("grpo", {"generation_batch_size": 100}, "g: GRPOConfig refuses these settings: generation_batch_size (100) must"),
    ("sft", {"optim": "adamm"}, "g: SFTConfig refuses these settings: adamm is not a valid OptimizerNames"),
])
def test_a_refusal_of_trl_is_a_users_mistake(stage, given, said, tmp_path):
    assert refused(build, spread(given, stage, "g", 1), tmp_path, 1, "g").startswith(said)


@pytest.mark.parametrize(("stage", "key", "value", "expected"), [
    ("sft", "num_train_epochs", "many", "a number"), ("sft", "num_train_epochs", [3], "a number"),
    ("sft", "max_steps", "many", "a whole number"), ("sft", "max_steps", 1.5, "a whole number"),
    ("sft", "max_steps", True, "a whole number"), ("sft", "learning_rate", "fast", "a number"),
    ("sft", "learning_rate", True, "a number"), ("grpo", "num_iterations", "two", "a whole number"),
    ("sft", "bf16", "yes", "true or false"), ("sft", "bf16", 1, "true or false"),
    ("grpo", "num_generations", "four", "a whole number"),
    ("grpo", "num_generations", 0, "a whole number of 1 or more"),
    ("grpo", "steps_per_generation", 0, "a whole number of 1 or more"),
    ("grpo", "num_iterations", 0, "a whole number of 1 or more"),
])
def test_a_value_of_another_kind_is_found_before_training(stage, key, value, expected):
    assert refused(spread, {key: value}, stage, "g", 1) == f"g.{key} {value!r}: expected {expected}"


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_no_setting_of_a_recipe_is_dropped_in_silence(stage, tmp_path, monkeypatch):
    """Whatever the runner sets over a recipe's head must be refused in a recipe."""
    from trainers import settings

    given = dict.fromkeys((field.name for field in fields(settings._config_class(stage))), "given")
    seen = {}
    monkeypatch.setattr(settings, "_config_class", lambda _: seen.update)
    build(Batching(stage, given, 8, 8, 1), tmp_path, 1, stage)
    changed = {key for key, value in seen.items() if value != "given"}
    assert "output_dir" in changed and changed <= TAKEN.keys()
