"""A recipe made ready: graph, settings, data and rewards of every family, checked before a model loads.

    families = prepare(recipe, Path("runs/phantom"), only=None, processes=1)
    ask_judges(families)          # one right answer to every judge: one that is down is found now

Imports trl for the checking of settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewards.errors import UserError
from rewards.reward import Reward
from rewards.types import Sample
from trainers.examples import Examples, read, require_disjoint, verify_source
from trainers.graph import Stage, stages
from trainers.recipe import Recipe


@dataclass(slots=True)
class Family:
    """One seed: its stages and what they need, all checked."""

    seed: int
    stages: list[Stage]
    examples: dict[str, Examples] = field(default_factory=dict)
    batchings: dict[str, Any] = field(default_factory=dict)
    rewards: dict[str, Reward] = field(default_factory=dict)


def prepare(recipe: Recipe, out: Path, only: Sequence[str] | None, processes: int) -> list[Family]:
    """Graph, settings, data and rewards of every family. Raises UserError for whatever cannot work."""
    from trainers import settings

    families = [Family(seed, stages(recipe, only, seed)) for seed in recipe.seeds]
    sources = {recipe.source_of(data) for data in recipe.data.values()}
    sources |= {recipe.source_of(score) for score in recipe.score.values()}
    for source in sorted(sources):
        verify_source(source)
    for family in families:
        for stage in family.stages:
            table = recipe.sft if stage.variant.stage == "sft" else recipe.grpo
            where = f"variants.{stage.name}.set" if stage.variant.set else stage.variant.stage
            made = settings.spread({**table, **stage.variant.set}, stage.variant.stage, where, processes)
            settings.build(made, out, family.seed, where)
            family.batchings[stage.name] = made
            for name in stage.variant.data:
                if name not in family.examples:
                    family.examples[name] = read(recipe, recipe.data[name], family.seed)
            rows = sum(len(family.examples[name]) for name in stage.variant.data)
            if rows < made.batch_size // made.group or made.steps(rows) < 1:
                raise UserError(f"variant {stage.name!r}: {rows} rows are fewer than the "
                                f"{made.batch_size // made.group} of one step; lower {stage.variant.stage}.batch_size")
            if stage.variant.reward is not None:
                family.rewards[stage.name] = _reward(recipe, out, stage)
        require_disjoint({name: examples.samples for name, examples in family.examples.items()},
                         _scored(recipe))
    return families


def _reward(recipe: Recipe, out: Path, stage: Stage) -> Reward:
    """The reward of one stage, its judge kept in one cache for the whole folder."""
    from rewards.reward import load

    plain = load(str(stage.variant.reward))
    reference = stage.variant.judge or plain.spec.judge.ref
    if not plain.judged:
        if stage.variant.judge is not None:
            raise UserError(f"variant {stage.name!r}: reward {plain.name!r} has no judged part; leave its judge out")
        return plain
    if reference is None:
        raise UserError(f"variant {stage.name!r}: reward {plain.name!r} has judged parts ({', '.join(plain.judged)}) "
                        'and names no judge; set judge = "rules" (phantom data only), "openai:MODEL", ...')
    settings = {"cache": out / "judge-cache.sqlite", "ledger": out / "judge-ledger.jsonl",
                "concurrency": 64, **recipe.judge}
    return load(str(stage.variant.reward), reference, judge_settings=settings)


def ask_judges(families: Sequence[Family]) -> None:
    """One right answer to every judge before anything is trained: a judge that is down is found now."""
    asked: set[str] = set()
    for family in families:
        for stage in family.stages:
            reward = family.rewards.get(stage.name)
            if reward is None or not reward.judged or reward.fingerprint in asked:
                continue
            asked.add(reward.fingerprint)
            examples = family.examples[stage.variant.data[0]]
            result = asyncio.run(_one(reward, examples))
            failed = next((score for score in result.scores if score.part in reward.judged and score.failure), None)
            if failed is not None:
                raise UserError(f"variant {stage.name!r}: the judge gave no verdict on a first answer "
                                f"({failed.failure}: {failed.reason}); nothing was trained, mend the judge first")


async def _one(reward: Reward, examples: Examples) -> Any:
    async with reward:
        sample, text = examples.samples[0], examples.targets[0]
        if not text.startswith("<think>"):
            text = f"<think>{sample.reference or sample.question}</think><answer>{sample.answer}</answer>"
        return await reward.score(sample, text)


def _scored(recipe: Recipe) -> dict[str, list[Sample]]:
    """Samples that variants are scored on, by scoring and task; phantom splits cannot overlap by construction."""
    import tasks

    found: dict[str, list[Sample]] = {}
    for name, score in recipe.score.items():
        source = recipe.source_of(score)
        if source != "phantom":
            found |= {f"score {name}, {task}": tasks.load(task, source, split=score.split, limit=score.limit)
                      for task in score.tasks}
    return found
