"""What our training costs over plain TRL, and what a step waits for its judge.

    python benchmarks/training.py --help
    python benchmarks/training.py                    # all three, five rounds
    python benchmarks/training.py grpo --rounds 3
    python benchmarks/training.py latency

`sft` and `grpo` train phantom-tiny by `trainers.stage` and by SFTTrainer or GRPOTrainer as they come, with the same
model, rows, settings and seed; the plain GRPO reward is the ten lines of `plain_reward`. Each measurement is a process
of its own, and the sides take turns. A step ends where TRL says so; the steps of the first epoch warm up and are not
counted, because ours draws phantom images on first use and the plain data set is made before it starts. CPU time stands
beside the clock's, because it suffers less from neighbours. Losses and lengths show that both did the same work.

`latency` calls the reward of a step with 64 different completions and a judge that takes 200 ms a call, alone and
inside the stack that `trainers.run` puts around it (cache, ledger, 64 calls at once).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rewards.errors import Parser, UserError, run_cli

MODEL = "phantom-tiny"
WHAT = ("sft", "grpo", "latency")
SIDES = ("ours", "plain TRL")
SEED = 7
LATENCY_S = 0.2
FROZEN = "model.visual"
BATCH = {"sft": 32, "grpo": 64}
COMMON = {"learning_rate": 1e-6, "save_steps": 10_000}
SETTINGS: dict[str, dict[str, Any]] = {
    "sft": COMMON,
    "grpo": {**COMMON, "num_generations": 4, "beta": 0.04, "epsilon": 0.2, "loss_type": "grpo", "temperature": 1.0,
             "max_completion_length": 128},
}
EPILOG = """\
examples:
  python benchmarks/training.py                              all of it
  python benchmarks/training.py sft grpo --rounds 2 --steps 3     a quick look
  OMP_NUM_THREADS=1 python benchmarks/training.py grpo       on one core
"""


def plain_reward(completions: Sequence[Any], answer: Sequence[str], **_: Any) -> list[float]:
    """Format plus accuracy as somebody would write them in an afternoon."""
    totals = []
    for completion, right in zip(completions, answer, strict=True):
        text = completion[-1]["content"]
        form = re.fullmatch(r"\s*<think>.+?</think>\s*<answer>.+?</answer>\s*", text, re.DOTALL)
        given = re.search(r"<answer>(.*?)</answer>", text, re.DOTALL)
        totals.append(float(form is not None) + float(given is not None and given[1].strip() == right))
    return totals


def recipe(what: str, steps: int) -> Any:
    """One stage on phantom questions; an epoch is two steps."""
    from trainers.recipe import Recipe

    group = SETTINGS[what].get("num_generations", 1)
    variant = {"stage": what, "data": "rows", **({"reward": "outcome"} if what == "grpo" else {})}
    return Recipe(name="bench", base=MODEL, source="phantom", model={"freeze": (FROZEN,)},
                  data={"rows": {"split": "train", "limit": 2 * BATCH[what] // group}}, variants={"one": variant},
                  **{what: {**SETTINGS[what], "batch_size": BATCH[what], "max_steps": steps}})


def stamp(base: type) -> Any:
    """A subclass of a trainer callback that also notes when each step ended, by the clock and in CPU time."""
    class Stamped(base):  # type: ignore[misc]
        ends: list[tuple[float, float]] = []  # noqa: RUF012  (one run a process)
        log: list[dict[str, Any]] = []  # noqa: RUF012

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.ends.append((time.perf_counter(), time.process_time()))
            super().on_step_end(args, state, control, **more)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            self.log.append(dict(logs or {}))
            super().on_log(args, state, control, logs=logs, **more)

    return Stamped


def ours(what: str, steps: int, folder: Path) -> Any:
    """One stage by `trainers.stage`; returns the callback that timed it."""
    import rewards
    from bench.models.checkpoint import locate
    from trainers import stage
    from trainers.examples import read
    from trainers.settings import spread
    from trainers.world import World

    made = recipe(what, steps)
    timed = stage.Progress = stamp(stage.Progress)  # the callback of every stage
    examples = read(made, made.data["rows"], SEED)
    reward = rewards.load("outcome") if what == "grpo" else None
    table = made.sft if what == "sft" else made.grpo
    stage.train(stage.Job(made, "one", "base", locate(MODEL), folder, SEED, "rows", examples,
                          spread(table, what, what, 1), reward), World())
    return timed


def plain(what: str, steps: int, folder: Path) -> Any:
    """The same by TRL alone; returns the callback that timed it.

    The processor is this project's: without torchvision `AutoProcessor` has none for Qwen2.5-VL.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText, PrinterCallback, ProgressCallback, TrainerCallback, set_seed
    from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

    from bench.models.checkpoint import locate, read_config
    from rewards.judges.processor import load_processor
    from trainers.examples import read

    made = recipe(what, steps)
    examples = read(made, made.data["rows"], SEED)
    columns: dict[str, list[Any]] = {
        "prompt": [[{"role": "user", "content": prompt}] for prompt in examples.prompts],
        "images": [[sample.image.open()] for sample in examples.samples],
    }
    if what == "sft":
        columns["completion"] = [[{"role": "assistant", "content": target}] for target in examples.targets]
    else:
        columns["answer"] = [sample.answer for sample in examples.samples]
    on_gpu = torch.cuda.is_available()
    options: dict[str, Any] = {
        **SETTINGS[what], "output_dir": str(folder), "max_steps": steps, "seed": SEED, "data_seed": SEED,
        "per_device_train_batch_size": BATCH[what], "gradient_accumulation_steps": 1, "use_cpu": not on_gpu,
        "bf16": on_gpu, "gradient_checkpointing": on_gpu, "report_to": [], "logging_steps": 1, "disable_tqdm": True,
        "dataloader_pin_memory": on_gpu, "remove_unused_columns": False,
    }
    set_seed(SEED)
    model = AutoModelForImageTextToText.from_pretrained(locate(MODEL), dtype=torch.float32)
    for name, weight in model.named_parameters():
        weight.requires_grad_(not name.startswith(FROZEN))
    shared = {"model": model, "train_dataset": Dataset.from_dict(columns),
              "processing_class": load_processor(locate(MODEL), read_config(locate(MODEL))["model_type"], None)}
    if what == "sft":
        trainer = SFTTrainer(args=SFTConfig(**options, max_length=None, completion_only_loss=True), **shared)
    else:
        trainer = GRPOTrainer(args=GRPOConfig(**options), reward_funcs=[plain_reward], **shared)
    timed = stamp(TrainerCallback)
    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)
    trainer.add_callback(timed())
    trainer.train()
    return timed


def worker(side: str, what: str, steps: int) -> None:
    """Measure once, in this process; one line of JSON."""
    warm = 2
    with tempfile.TemporaryDirectory() as folder:
        timed = (ours if side == SIDES[0] else plain)(what, warm + steps, Path(folder) / "stage")
    ends = timed.ends[warm - 1:]
    walls, cpus = ([after[n] - before[n] for before, after in pairwise(ends)] for n in (0, 1))
    logged = [entry for entry in timed.log if "loss" in entry]
    lengths = [entry["completions/mean_length"] for entry in logged if "completions/mean_length" in entry]
    print(json.dumps({"wall_s": walls, "cpu_s": cpus, "loss": statistics.mean(entry["loss"] for entry in logged),
                      "tokens": statistics.mean(lengths) if lengths else None,
                      "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def measure(side: str, what: str, steps: int) -> dict[str, Any]:
    """`worker` in a process of its own."""
    command = [sys.executable, __file__, what, "--steps", str(steps), "--worker", side]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{side}, {what}, failed: {done.stderr.strip().splitlines()[-1:] or ['no message']}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def compare(what: str, rounds: int, steps: int) -> None:
    """Both sides in turns; medians over all counted steps."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            found[side].append(measure(side, what, steps))
    medians = {side: {key: statistics.median(value for run in runs for value in run[key])
                      for key in ("wall_s", "cpu_s")} for side, runs in found.items()}
    memory = {side: statistics.median(run["peak_mib"] for run in runs) for side, runs in found.items()}
    print(f"\n{what}, batch {BATCH[what]}, {rounds} rounds of {steps} steps: medians of steps and of peak memory")
    print("| | seconds | CPU seconds | peak MiB | mean loss | tokens a completion |\n|---|---|---|---|---|---|")
    for side, runs in found.items():
        tokens = "" if runs[0]["tokens"] is None else f"{statistics.mean(run['tokens'] for run in runs):.1f}"
        print(f"| {side} | {medians[side]['wall_s']:.3f} | {medians[side]['cpu_s']:.3f} | {memory[side]:.0f} | "
              f"{statistics.mean(run['loss'] for run in runs):.5f} | {tokens} |")
    one, other = SIDES
    print(f"| ratio | {medians[one]['wall_s'] / medians[other]['wall_s']:.3f} | "
          f"{medians[one]['cpu_s'] / medians[other]['cpu_s']:.3f} | {memory[one] / memory[other]:.3f} | | |",
          flush=True)


def latency(rounds: int) -> None:
    """Time of one reward call for 64 completions over that of one judge call."""
    import asyncio

    import rewards
    from rewards.judges import JudgeBackend, JudgeReply, JudgeRequest
    from rewards.judges.settings import StackSettings
    from rewards.judges.stack import Stack
    from trainers.examples import read
    from trainers.recipe import Guard
    from trainers.rollouts import GroupReward, Rollouts
    from trainers.world import World

    class Slow(JudgeBackend):
        """Says no to everything, slowly."""

        name, sees_images = "slow", True

        async def ask(self, request: JudgeRequest) -> JudgeReply:
            await asyncio.sleep(LATENCY_S)
            names, event = request.expect.names, {"evidence": "", "verdict": "no"}
            text = json.dumps(dict.fromkeys(names, event))
            return JudgeReply(text, model="slow", verdict=dict.fromkeys(names, False))

    made = recipe("grpo", 1)
    examples = read(made, made.data["rows"], SEED)
    rows = [place for place in range(16) for _ in range(4)]
    print(f"\nlatency: one reward call for {len(rows)} different completions, judge of {LATENCY_S * 1000:.0f} ms, "
          f"{rounds} rounds")
    print("| judge | median seconds | / one judge call | CPU seconds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stack = Stack(Slow(""), StackSettings(cache=folder / "cache.sqlite", ledger=folder / "ledger.jsonl",
                                              concurrency=64))
        for label, judge in (("alone", Slow("")), ("in the stack", stack)):
            reward = GroupReward(rewards.load("dual", judge=judge), examples, World(), Rollouts(folder / label[:2]),
                                 Guard(), [0])
            reward.rollouts.rewind(0)
            spent = []
            for turn in range(rounds + 1):
                texts = [f"<think>Completion {turn}.{n}: crowded glands, so it is malignant.</think>"
                         f"<answer>{examples.samples[row].answer}</answer>" for n, row in enumerate(rows)]
                before = time.perf_counter(), time.process_time()
                totals = reward(None, [[{"content": text}] for text in texts], [[1, 0]] * len(rows), rows,
                                SimpleNamespace(global_step=turn), lambda *_: None)
                spent.append((time.perf_counter() - before[0], time.process_time() - before[1]))
                assert None not in totals
                reward.log_advantages([0.0] * len(rows))
            reward.close()
            wall, cpu = (statistics.median(values) for values in zip(*spent[1:], strict=True))  # the first warms up
            print(f"| {label} | {wall:.3f} | {wall / LATENCY_S:.2f} | {cpu:.3f} |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="python benchmarks/training.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="sft, grpo, latency (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--steps", type=int, default=10, help="counted steps a turn (10)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for name in args.what:
        if name not in WHAT:
            raise UserError(f"{name!r} is nothing to measure; choose from {', '.join(WHAT)}")
    if args.rounds < 1 or args.steps < 1:
        raise UserError("--rounds and --steps: expected 1 or more")
    if args.worker is not None:
        worker(args.worker, args.what[0], args.steps)
        return
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    print(f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}, "
          f"load {os.getloadavg()[0]:.1f}, model {MODEL}")
    for name in args.what or WHAT:
        if name == "latency":
            latency(args.rounds)
        else:
            compare(name, args.rounds, args.steps)


if __name__ == "__main__":
    run_cli(main)
