"""Stage two inside a run: the reward's parts for every stored answer, by one or several judges.

    score(Path("runs/r1"), samples, "dual", ("rules", "openai:gpt-4o"), Budget(max_usd=5))

Reads `samples.jsonl`, appends to `scores.jsonl`; finished lines are never asked again, verdicts are also kept in
`judge-cache.sqlite` and every attempt in `judge-ledger.jsonl`. Controls are not judged: their answers are not about
the image that a judge would see. The work itself is `rewards.scoring`, the same as in `python -m rewards.audit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.controls import PLAIN
from bench.models.checkpoint import training
from rewards.reward import Reward, load
from rewards.scoring import Outcome, score_file
from rewards.types import ImageSource, Sample


@dataclass(frozen=True, slots=True)
class Budget:
    """When a judge that costs money stops: cleanly, resumable. None means no limit."""

    max_usd: float | None = None
    max_calls: int | None = None
    concurrency: int = 16


def rewards_of(folder: Path, spec: str, judges: Sequence[str], budget: Budget) -> list[Reward]:
    """One reward a judge, made before any answer is generated, so that a mistake in a name costs nothing.

    Raises UserError for an unknown reward or judge.
    """
    settings = {"cache": folder / "judge-cache.sqlite", "ledger": folder / "judge-ledger.jsonl",
                "max_usd": budget.max_usd, "max_calls": budget.max_calls, "concurrency": budget.concurrency}
    return [load(spec, judge, judge_settings=settings) for judge in judges]


def score(folder: Path, samples: Sequence[Sample], rewards: Sequence[Reward], quiet: bool = False) -> list[str]:
    """Score with each reward in turn; returns warnings (a judge that cannot judge, a budget that ended it)."""
    images = {sample.image_sha256: sample.image for sample in samples}

    def image(row: Mapping[str, Any]) -> ImageSource | None:
        return images.get(str(row.get("image_sha256")))

    async def all_of_them() -> list[str]:
        said: list[str] = []
        for reward in rewards:
            async with reward:
                outcome = await score_file(
                    folder / "samples.jsonl", reward, folder / "scores.jsonl", images=image,
                    progress=False if quiet else None, only=lambda row: row.get("condition") == PLAIN)
            said += [f"{_name(reward)}: {text}" for text in _warnings(reward, outcome)]
        return said

    return asyncio.run(all_of_them())


def judged(before: Sequence[Mapping[str, Any]], rewards: Sequence[Reward]) -> list[dict[str, Any]]:
    """What the manifest says of stage two: every reward that has scored this run, by fingerprint, with its judge."""
    found = {str(entry["fingerprint"]): dict(entry) for entry in before}
    found |= {reward.fingerprint: {"fingerprint": reward.fingerprint, "reward": reward.name,
                                   "judge": reward.judge_identity} for reward in rewards}
    return list(found.values())


def same_judge(model: str, rewards: Sequence[Reward]) -> list[str]:
    """A warning for each judge that also trained the checkpoint, as its manifest tells; [] when it tells nothing."""
    reward = (training(model) or {}).get("reward")
    trained = reward.get("judge") if isinstance(reward, Mapping) else None
    return [f"{_name(reward)} judged this checkpoint during training, too: its scores here are what the training "
            "optimised, no independent evidence" for reward in rewards
            if trained and _who(trained) == _who(reward.judge_identity)]


def _who(identity: Any) -> tuple[Any, Any]:
    return (identity.get("backend"), identity.get("model")) if isinstance(identity, Mapping) else (identity, None)


def _name(reward: Reward) -> str:
    backend, model = _who(reward.judge_identity)
    return f"judge {backend}" + (f" {model}" if model else "")


def _warnings(reward: Reward, outcome: Outcome) -> list[str]:
    found: list[str] = []
    health = getattr(reward.judge, "health", None)
    if health is not None:
        found += list(health.warnings())
    stopped = getattr(reward.judge, "stopped", None)
    if stopped:
        found.append(f"stopped asking: {stopped}; repeat the command with a larger budget to go on")
    missing = next((mean for part, mean in outcome.means.items() if part in reward.judged and mean.failures), None)
    if missing is not None:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(missing.failures.items()))
        found.append(f"no verdict on {missing.n - missing.n_scored} of {missing.n} answers: {reasons}")
    return found
