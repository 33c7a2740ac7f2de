"""The reward of GRPO: one `Reward` object for all processes, and every completion written down with what it got.

    reward = GroupReward(rewards.load("dual", judge="rules"), examples, world, Rollouts(folder), guard, ...)
    GRPOTrainer(reward_funcs=[reward], ...)

All processes hand their completions to the main one, which asks the judge once for all of them; so there is one cache,
one budget, one ledger and one log. A completion without a total is None for TRL (1.16 and later keep it out of its
group's baseline and give it no advantage) and is counted. TRL calls this on its main thread.

`rollouts/samples.jsonl` and `scores.jsonl` are what `python -m rewards.audit STAGE/rollouts` reads, with `step`,
`generation` and `advantage` beside. Must not import trl.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.controls import PLAIN
from bench.generate import answer_row
from rewards.errors import UserError
from rewards.reward import Reward
from rewards.scoring import score_line
from rewards.types import Completion, RewardResult
from tasks.prompts import prompt_sha256
from trainers.examples import Examples
from trainers.recipe import Guard
from trainers.world import World


class Rollouts:
    """The two files of one stage. Only the main process writes."""

    def __init__(self, folder: Path) -> None:
        self.samples, self.scores = folder / "samples.jsonl", folder / "scores.jsonl"

    def rewind(self, step: int) -> None:
        """Forget what was logged at `step` or later (and half a line): a resumed stage logs it again."""
        for path in (self.samples, self.scores):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".draft")
            with draft.open("w", encoding="utf-8") as out:
                for line in path.open(encoding="utf-8") if path.exists() else ():
                    if line.endswith("\n") and json.loads(line)["step"] < step:
                        out.write(line)
            draft.replace(path)

    def write(self, rows: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]]) -> None:
        """Append one generation."""
        for path, entries in ((self.samples, rows), (self.scores, lines)):
            with path.open("a", encoding="utf-8") as out:
                out.write("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))


class GroupReward:
    """TRL's reward function for a whole generation over all processes; see the module."""

    def __init__(self, reward: Reward, examples: Examples, world: World, rollouts: Rollouts, guard: Guard,
                 end_ids: Sequence[int]) -> None:
        self.reward, self.examples, self.world = reward, examples, world
        self.rollouts, self.guard, self.end_ids = rollouts, guard, frozenset(end_ids)
        self.__name__ = reward.name
        self._recent: deque[bool] = deque(maxlen=guard.window)
        self._runner: asyncio.Runner | None = None
        self._pending: tuple[list[dict[str, Any]], list[dict[str, Any]]] | None = None

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Sequence[int]],
                 row: Sequence[int], trainer_state: Any, log_metric: Any, **_: Any) -> list[float | None]:
        """Totals of this process's completions. Raises UserError when a guard ends the run."""
        own = [(place, completion[-1]["content"], len(ids), bool(ids) and ids[-1] not in self.end_ids)
               for place, completion, ids in zip(row, completions, completion_ids, strict=True)]
        everything = self.world.gather(own)
        step = int(trainer_state.global_step)
        totals, metrics = self.world.on_main(lambda: self._score(everything, step))
        if self.world.main:  # TRL averages a metric over the processes that log it
            for name, value in metrics.items():
                log_metric(name, value)
        start = self.world.rank * len(own)
        return totals[start:start + len(own)]

    def log_advantages(self, advantages: Sequence[float]) -> None:
        """Complete and write the rows of the last generation; `advantages` of all processes in order."""
        if self._pending is None:
            return
        rows, lines = self._pending
        for entry, advantage in zip(rows, advantages, strict=True):
            entry["advantage"] = advantage
        self.rollouts.write(rows, lines)
        self._pending = None

    def close(self) -> None:
        """Close the judge and its event loop."""
        if self._runner is not None:
            self._runner.run(self.reward.aclose())
            self._runner.close()
            self._runner = None

    def _score(self, everything: Sequence[tuple[int, str, int, bool]],
               step: int) -> tuple[list[float | None], dict[str, float]]:
        if self._runner is None:
            self._runner = asyncio.Runner()
        samples = [self.examples.samples[place] for place, *_ in everything]
        answers = [Completion(text, "length" if cut else "stop", tokens_out=tokens)
                   for _, text, tokens, cut in everything]
        results = self._runner.run(_all(self.reward, list(zip(samples, answers, strict=True))))
        rows, lines = [], []
        for number, (sample, answer, result) in enumerate(zip(samples, answers, results, strict=True)):
            place = {"step": step, "generation": number}
            asked = prompt_sha256(self.examples.prompts[everything[number][0]])
            entry = answer_row(sample, PLAIN, answer, asked, sample.image_sha256)
            entry |= {"id": f"{sample.id}#{step}.{number}", **place, "advantage": None}
            rows.append(entry)
            lines.append({**score_line(entry, result, self.reward), **place})
        self._pending = (rows, lines)
        self._check(results)
        return [result.total for result in results], _metrics(self.reward, results, rows)

    def _check(self, results: Sequence[RewardResult]) -> None:
        """Stop cleanly when the judge's budget is spent or too many totals are missing."""
        stopped = getattr(self.reward.judge, "stopped", None)
        if stopped:
            raise UserError(f"training stopped: {stopped}; the last checkpoint is kept, the same command goes on")
        self._recent.extend(result.total is None for result in results)
        share = sum(self._recent) / len(self._recent)
        if len(self._recent) == self._recent.maxlen and share > self.guard.max_missing:
            reasons: dict[str, int] = {}
            for result in results:
                for score in result.scores:
                    if score.failure:
                        reasons[score.failure] = reasons.get(score.failure, 0) + 1
            listed = ", ".join(f"{count} {name}" for name, count in sorted(reasons.items())) or "none in this step"
            raise UserError(f"training stopped: {100 * share:.0f} % of the last {len(self._recent)} completions have "
                            f"no reward, more than guard.max_missing = {self.guard.max_missing:g} ({listed}); the last "
                            "checkpoint is kept: mend the judge and repeat the command")


async def _all(reward: Reward, pairs: list[Any]) -> list[RewardResult]:
    return await reward.score_many(pairs, concurrency=max(64, len(pairs)), progress=False)


def _metrics(reward: Reward, results: Sequence[RewardResult], rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means of parts over the completions that have a value, the missing share, and how many answers were flagged."""
    found: dict[str, float] = {}
    for place, label in enumerate(reward.parts):
        values = [value for result in results if (value := result.scores[place].value) is not None]
        found[f"reward/{label}/missing"] = 1 - len(values) / len(results)
        if values:
            found[f"reward/{label}"] = sum(values) / len(values)
    found["reward/missing"] = sum(result.total is None for result in results) / len(results)
    found["reward/flagged"] = sum(bool(_flags(result)) for result in results) / len(results)
    found["accuracy/letter"] = sum(bool(row["correct"] and row["correct"]["letter"]) for row in rows) / len(rows)
    return found


def _flags(result: RewardResult) -> bool:
    """Whether the injection guard found something in what the judge was to read."""
    return any(score.detail.get("flags") for score in result.scores)
