"""The shipped recipes: the paper's table, the paper's numbers, and configurations that accelerate takes."""

import tomllib
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from rewards.spec import read as read_reward
from tasks.splits import SIZES, build
from trainers.graph import stages
from trainers.recipe import SHIPPED, load
from trainers.run import main
from trainers.settings import build as build_settings
from trainers.settings import spread

OUTCOME = {"format": 1.0, "accuracy": 1.0}
PROCESS = {**OUTCOME, "integrity": 0.5, "knowledge": 0.5}  # process = (integrity + knowledge) / 2
TABLE = {
    #  variant    parent  stage   data        reward   judge
    "alpha":   ("base",  "sft",  "sft-3000", None,    False),
    "beta":    ("alpha", "grpo", "rl-1000",  OUTCOME, False),
    "gamma":   ("alpha", "sft",  "rl-1000",  None,    False),
    "delta":   ("base",  "sft",  "rl-1000",  None,    False),
    "epsilon": ("base",  "grpo", "rl-1000",  OUTCOME, False),
    "r1":      ("beta",  "grpo", "rl-1000",  PROCESS, True),
}
"""The paper's six variants."""
JUDGES = {"pathvlm-r1": "openai:gpt-4o", "phantom": "rules"}
MAY_SET = {"pathvlm-r1": set(), "phantom": {"max_steps"}}
NAMES = sorted(path.stem for path in SHIPPED.glob("*.toml"))
PROCESSES = {"pathvlm-r1": (1, 4, 8, 16)}
ACCELERATE = Path(SHIPPED).parent / "accelerate"
FILES = sorted(ACCELERATE.glob("*.yaml"))
MACHINES = {"num_machines", "num_processes", "machine_rank", "main_process_ip", "main_process_port", "rdzv_backend",
            "same_network", "deepspeed_multinode_launcher"}


@pytest.fixture(scope="module")
def paper():
    return load("pathvlm-r1")


def config(recipe, stage):
    table = recipe.sft if stage == "sft" else recipe.grpo
    return build_settings(spread(table, stage, stage, 1), Path("nowhere"), 1, stage)


# --- every shipped recipe ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", NAMES)
def test_it_loads_its_graph_resolves_and_trl_takes_its_settings(name):
    recipe = load(name)
    assert recipe.name == name
    assert {stage.name for stage in stages(recipe)} == set(recipe.variants)
    for processes in PROCESSES.get(name, (1, 2)):
        for variant in recipe.variants.values():
            table = recipe.sft if variant.stage == "sft" else recipe.grpo
            made = spread({**table, **variant.set}, variant.stage, variant.stage, processes)
            assert made.per_device * made.accumulation * processes == made.batch_size
            if processes == 1:  # TRL multiplies by the processes that there are
                build_settings(made, Path("nowhere"), 1, variant.stage)


@pytest.mark.parametrize("name", JUDGES)
def test_the_variants_differ_as_the_papers_table_says_and_in_nothing_else(name):
    recipe = load(name)
    for wanted, (parent, stage, data, parts, judged) in TABLE.items():
        variant = recipe.variants[wanted]
        assert (variant.parent, variant.stage, variant.data) == (parent, stage, (data,)), wanted
        spec = None if variant.reward is None else read_reward(variant.reward)
        assert (None if spec is None else {label: part.weight for label, part in spec.parts.items()}) == parts, wanted
        assert spec is None or (spec.combine, spec.judge.ref) == ("sum", None), wanted
        assert variant.judge == (JUDGES[name] if judged else None), wanted
        rest = set(type(variant).model_fields) - {"parent", "stage", "data", "reward", "judge"}
        assert rest == {"set"} and set(variant.set) <= MAY_SET[name], wanted
    assert recipe.data["sft-3000"].target == "reasoning" and recipe.data["rl-1000"].target == "answer"
    assert (recipe.data["sft-3000"].limit, recipe.data["rl-1000"].limit) == (3000, 1000)


# --- pathvlm-r1 -------------------------------------------------------------------------------------------------------

def test_there_are_six_and_parents_come_first(paper):
    assert set(paper.variants) == set(TABLE)
    assert [stage.name for stage in stages(paper)] == ["alpha", "beta", "r1", "gamma", "delta", "epsilon"]
    assert paper.base == "Qwen/Qwen2.5-VL-7B-Instruct" and paper.model.freeze == ("model.visual",)
    assert paper.model.dtype == "bfloat16" and paper.model.lora is None


@pytest.mark.parametrize(("name", "value"), [
    ("num_generations", 4), ("epsilon", 0.2), ("beta", 0.04), ("learning_rate", 1e-6), ("temperature", 1.0),
    ("max_completion_length", 1024), ("scale_rewards", "group"), ("loss_type", "grpo"), ("num_iterations", 1),
])
def test_grpo_has_the_papers_numbers(name, value, paper):
    assert getattr(config(paper, "grpo"), name) == value
    assert name in paper.grpo  # not a default, which another TRL may change


@pytest.mark.parametrize(("name", "value"), [
    ("learning_rate", 2e-5), ("lr_scheduler_type", "cosine"), ("warmup_steps", 0.03), ("num_train_epochs", 10),
])
def test_sft_has_the_papers_numbers(name, value, paper):
    assert getattr(config(paper, "sft"), name) == value
    assert name in paper.sft


def test_warm_up_is_a_share_of_the_steps(paper):
    assert config(paper, "sft").get_warmup_steps(1000) == 30
    assert config(paper, "grpo").get_warmup_steps(1000) == 0


def test_the_step_counts_that_its_comments_name(paper):
    sft, grpo = spread(paper.sft, "sft", "sft", 8), spread(paper.grpo, "grpo", "grpo", 8)
    assert sft.steps(3000) == pytest.approx(1870, rel=0.02) and sft.steps(1000) == pytest.approx(620, rel=0.02)
    assert grpo.group == 4 and grpo.steps(1000) == 62 and grpo.steps(1000) * grpo.batch_size == 3968
    text = (SHIPPED / "pathvlm-r1.toml").read_text(encoding="utf-8")
    for said in ("About 1,870 steps for alpha, 620 for gamma", "62 steps", "3,968 verdicts"):
        assert said in text


def test_the_judge_has_a_ceiling_and_the_prices_it_is_counted_with(paper):
    assert {"usd_per_mtok_in", "usd_per_mtok_out", "max_usd"} == set(paper.judge)


def test_transfer_names_its_reference(paper):
    assert paper.score["path"].reference == "gamma"
    assert (paper.score["path"].tasks, paper.score["path"].split) == (("path",), "test")
    assert paper.score["path"].max_new_tokens == 1024  # 64 cut three of four answers off


def test_the_commented_table_for_other_modalities_works_once_it_is_uncommented(tmp_path):
    text = (SHIPPED / "pathvlm-r1.toml").read_text(encoding="utf-8")
    before, _, table = text.partition("# [score.ood]\n")
    table = "".join(line.removeprefix("# ") for line in ("# [score.ood]\n" + table).splitlines(keepends=True))
    path = tmp_path / "more.toml"
    path.write_text(before + table, encoding="utf-8")
    ood = load(str(path)).score["ood"]
    assert ood.tasks == ("ct", "derm", "fundus", "oct") and ood.source == "my-data" and ood.reference == "gamma"


def test_a_dry_run_on_splits(data_root, tmp_path, monkeypatch, capsys):
    assert SIZES["sft"] == 3000 and SIZES["rl"] == 1000  # what the recipe's limits ask for
    splits = tmp_path / "splits"
    build(data_root, splits, {"sft": 4, "rl": 4, "test": 2}, {}, subsets=None)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-not-a-key")
    monkeypatch.chdir(tmp_path)
    assert main(["pathvlm-r1", "--data", str(splits), "--dry-run", "--set", "grpo.batch_size=8",
                 "--set", "sft.batch_size=2"]) == 0
    shown = capsys.readouterr().out
    assert "openai:gpt-4o" in shown and "USD" in shown and "scoring path: 7 models on path (split test)" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["splits"]


# --- accelerate -------------------------------------------------------------------------------------------------------

def launched(path):
    """The environment of the processes that `accelerate launch --config_file` starts."""
    asked = launch_command_parser().parse_args(["--config_file", str(path), "-m", "trainers.run", "pathvlm-r1"])
    asked, defaults, _ = _validate_launch_command(asked)
    if asked.use_fsdp:
        return asked, prepare_multi_gpu_env(asked)
    asked.deepspeed_fields_from_accelerate_config = list(defaults.deepspeed_config)
    return asked, prepare_deepspeed_cmd_env(asked)[1]


def test_the_four_files_are_there():
    assert [path.name for path in FILES] == ["fsdp2-nodes.yaml", "fsdp2.yaml", "zero3-nodes.yaml", "zero3.yaml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_takes_it(path):
    loaded = load_config_from_file(str(path))
    asked, environment = launched(path)
    assert asked.num_processes == loaded.num_processes == 8 * loaded.num_machines
    assert asked.num_machines == loaded.num_machines == (2 if "nodes" in path.stem else 1)
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"
    assert (asked.use_fsdp, asked.use_deepspeed) == (path.stem.startswith("fsdp2"), path.stem.startswith("zero3"))
    assert f"trainers/accelerate/{path.name}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [path for path in FILES if "fsdp2" in path.stem], ids=lambda path: path.stem)
def test_fsdp2_saves_whole_weights_and_reads_them_in_every_process(path):
    _, environment = launched(path)
    assert environment["FSDP_VERSION"] == "2" and environment["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"
    assert environment["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
    assert "FSDP_TRANSFORMER_CLS_TO_WRAP" not in environment  # the model names its blocks
    assert environment["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "false"  # TRL's reference model would be zeros elsewhere


@pytest.mark.parametrize("path", [path for path in FILES if "zero3" in path.stem], ids=lambda path: path.stem)
def test_zero3_saves_whole_weights(path):
    _, environment = launched(path)
    assert environment["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    assert environment["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true"


@pytest.mark.parametrize("kind", ["fsdp2", "zero3"])
def test_several_machines_differ_in_machines_alone(kind):
    one, many = (vars(load_config_from_file(str(ACCELERATE / f"{kind}{more}.yaml"))) for more in ("", "-nodes"))
    flat = [{key: value for table in (config, *(v for v in config.values() if isinstance(v, dict)))
             for key, value in table.items() if not isinstance(value, dict)} for config in (one, many)]
    assert {key for key in {*flat[0], *flat[1]} if flat[0].get(key) != flat[1].get(key)} <= MACHINES


def test_recipes_are_read_as_they_stand():
    for name in JUDGES:
        assert "extends" not in tomllib.loads((SHIPPED / f"{name}.toml").read_text(encoding="utf-8"))
