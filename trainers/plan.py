"""What a recipe will do, in numbers, before it does it: `python -m trainers.run RECIPE --dry-run`.

    for row in plan(recipe, family, examples, batchings, rewards): ...
    show(rows)

Judge calls are the most that can be asked: equal chains are asked once, and a resumed run pays nothing twice. A cost
ceiling is known where the judge's prices are (`[judge]` usd_per_mtok_in and _out), or a budget (`max_usd`) is set.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rewards.reward import Reward
from trainers.examples import Examples
from trainers.graph import Stage
from trainers.recipe import Recipe
from trainers.settings import Batching

CHARS_IN = 6_000
"""Characters of a judge prompt, rounded up: rubric, question and a chain at the completion cap."""
REPLY_TOKENS = 1_024


@dataclass(frozen=True, slots=True)
class Row:
    """One stage: `samples` are questions (SFT) or completions (GRPO) over all steps; None is unknown."""

    stage: Stage
    rows: int
    steps: int
    samples: int
    judge: str
    judge_calls: int
    max_usd: float | None


def plan(recipe: Recipe, family: Sequence[Stage], examples: Mapping[str, Examples],
         batchings: Mapping[str, Batching], rewards: Mapping[str, Reward]) -> list[Row]:
    """A row a stage."""
    found = []
    for stage in family:
        batching = batchings[stage.name]
        rows = sum(len(examples[name]) for name in stage.variant.data)
        steps = batching.steps(rows)
        reward = rewards.get(stage.name)
        samples = steps * batching.batch_size
        if batching.stage == "grpo":
            samples //= int(batching.settings.get("num_iterations", 1))
        calls = samples if reward is not None and reward.judged else 0
        found.append(Row(stage, rows, steps, samples, _judge(reward), calls, _ceiling(recipe, reward, calls)))
    return found


def show(recipe: Recipe, rows: Sequence[Row], processes: int) -> None:
    """The plan as a table, and what scoring adds to it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("seed", "variant", "parent", "stage", "data", "rows", "steps", "samples", "judge calls <=",
                    "cost <="):
        table.add_column(heading, justify="right" if heading in ("rows", "steps", "samples", "judge calls <=",
                                                                 "cost <=") else "left")
    for row in rows:
        stage = row.stage
        cost = "0" if not row.judge_calls else "unknown" if row.max_usd is None else f"{row.max_usd:.2f} USD"
        calls = f"{row.judge_calls:,} ({row.judge})" if row.judge_calls else "0"
        table.add_row(str(stage.seed), stage.name, stage.variant.parent, stage.variant.stage, stage.variant.data_name,
                      f"{row.rows:,}", f"{row.steps:,}", f"{row.samples:,}", calls, cost)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for name, score in recipe.score.items():
        models = len({(row.stage.seed, row.stage.name) for row in rows if row.stage.wanted}) + 1
        judged = f", judged by {', '.join(score.judges)}" if score.judges else ""
        console.print(f"scoring {name}: {models} models on {', '.join(score.tasks)} "
                      f"({'split ' + score.split if score.split else 'test split'}), "
                      f"{1 + len(score.controls)} conditions{judged}", highlight=False)
    console.print(f"recipe {recipe.name} {recipe.digest[:16]}, {processes} process{'es' if processes > 1 else ''}",
                  highlight=False)


def _judge(reward: Reward | None) -> str:
    identity = None if reward is None else reward.judge_identity
    if not isinstance(identity, Mapping):
        return ""
    named = (str(identity.get("backend") or "").partition("@")[0], str(identity.get("model") or ""))  # openai@1, gpt-5
    return ":".join(filter(None, named)) or "judge"


def _ceiling(recipe: Recipe, reward: Reward | None, calls: int) -> float | None:
    """Most that `calls` can cost in USD, None when nothing is known."""
    if not calls or reward is None:
        return 0.0
    if getattr(reward.judge, "backend", None) is not None and reward.judge.backend.in_process:  # type: ignore[union-attr]
        return 0.0
    spend = getattr(reward.judge, "spend", None)
    known = [float(recipe.judge["max_usd"])] if recipe.judge.get("max_usd") is not None else []
    if spend is not None and spend.prices is not None:
        known.append(calls * spend.ceiling(CHARS_IN, REPLY_TOKENS, reward.shows_images))
    return min(known) if known else None
