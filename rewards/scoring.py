"""Stage two: stored answers in, `scores.jsonl` out; the same for `bench.run --judge` and for the audit.

    async with rewards.load("dual", judge="rules") as reward:
        outcome = await score_file(Path("runs/r1/samples.jsonl"), reward, Path("runs/r1/scores.jsonl"))
    outcome.means["integrity"].mean, outcome.means["integrity"].n_scored, outcome.means["integrity"].n

One line for each answer and reward: `suite id task condition fingerprint total scores judge usage`, and
`completion_sha256`, so that a changed answer is scored again. Lines are appended as results come, so a killed run loses
at most what was in flight; a resumed one skips what is finished, and asks again where the reason for a missing score
has nothing to do with the answer (outage, budget). Must not import `tasks` or `bench`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rewards.errors import UserError
from rewards.judges.base import RESUMABLE
from rewards.reward import Reward
from rewards.stored import Images, completion_from_row, rows, sample_from_row
from rewards.types import Completion, RewardResult, Sample

_LINE_FIELDS = ("suite", "id", "task", "condition", "completion", "finish_reason")

_ASK_AGAIN = RESUMABLE | {"bad-image", "judge-error", "part-error"}
"""Missing for a reason outside the answer: an outage, a budget, an image that was not at hand, a fault in code."""

Key = tuple[str, str, str, str, str]
Rows = Callable[[Mapping[str, Any]], bool]


@dataclass(slots=True)
class Mean:
    """Mean over the answers that have a value. `failures` counts why the others have none."""

    n: int = 0
    n_scored: int = 0
    sum: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        """None where nothing was scored."""
        return self.sum / self.n_scored if self.n_scored else None

    def add(self, value: float | None, failure: str | None = None) -> None:
        """Count one answer."""
        self.n += 1
        if value is None:
            name = failure or "missing"
            self.failures[name] = self.failures.get(name, 0) + 1
        else:
            self.n_scored += 1
            self.sum += value


@dataclass(slots=True)
class Outcome:
    """What stage two did: `scored` new lines, `kept` from before, means by part and of "total", and what it cost.

    `calls` is the number of judge calls sent by this run; `cost_usd` None when a call's cost is unknown.
    """

    fingerprint: str
    scored: int = 0
    kept: int = 0
    means: dict[str, Mean] = field(default_factory=dict)
    calls: int = 0
    cost_usd: float | None = 0.0

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line into the means."""
        for score in line["scores"]:
            self.means.setdefault(score["part"], Mean()).add(score["value"], score["failure"])
        self.means.setdefault("total", Mean()).add(line["total"], "part-missing")


def score_line(row: Mapping[str, Any], result: RewardResult, reward: Reward) -> dict[str, Any]:
    """The line of `scores.jsonl` for one stored answer."""
    return {
        "suite": row.get("suite") or "", "id": str(row["id"]), "task": str(row["task"]),
        "condition": row.get("condition") or "plain", "fingerprint": result.fingerprint, "reward": reward.name,
        "completion_sha256": _digest(row), "total": result.total,
        "scores": [{"part": score.part, "value": score.value, "reason": score.reason, "failure": score.failure,
                    "detail": dict(score.detail)} for score in result.scores],
        "judge": reward.judge_identity, "usage": dict(result.usage),
    }


def key_of(line: Mapping[str, Any]) -> Key:
    """What makes a line of `scores.jsonl` one of a kind: suite, task, id, condition, fingerprint."""
    return (str(line.get("suite") or ""), str(line["task"]), str(line["id"]), str(line.get("condition") or "plain"),
            str(line.get("fingerprint") or ""))


async def scored(
    samples: Path,
    reward: Reward,
    *,
    skip: Mapping[Key, str] | None = None,
    images: Images | None = None,
    concurrency: int = 64,
    progress: bool | None = None,
    limit: int | None = None,
    only: Rows | None = None,
) -> AsyncIterator[dict[str, Any]]:
    """Lines of `scores.jsonl` in the order of `samples`, made as they are drawn; memory does not grow.

    `skip` maps keys to the digest of the answer they belong to; such answers are passed over. `only` chooses rows.
    """
    pending: deque[dict[str, Any]] = deque()

    def pairs() -> Iterator[tuple[Sample, Completion]]:
        for row in _chosen(samples, limit, only):
            sample = sample_from_row(row, images)
            if skip and skip.get((*key_of(row)[:4], reward.fingerprint)) == _digest(row):
                continue
            pending.append({key: row.get(key) for key in _LINE_FIELDS})
            yield sample, completion_from_row(row)

    async for result in reward.score_many(pairs(), concurrency, progress):
        yield score_line(pending.popleft(), result, reward)


async def score_file(
    samples: Path,
    reward: Reward,
    out: Path,
    *,
    images: Images | None = None,
    concurrency: int = 64,
    progress: bool | None = None,
    limit: int | None = None,
    only: Rows | None = None,
) -> Outcome:
    """Score every answer in `samples` that `out` does not hold yet; the means are over all of them.

    Raises `UserError` for a row that cannot be read, a judge that is needed and not named, a refused key, or when
    another process is writing into `out`.
    """
    outcome = Outcome(reward.fingerprint)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another run is writing into {out}; wait for it, or choose another file") from None
        _cut_torn_line(file)
        finished = _finished(out, reward.fingerprint)
        lines = scored(samples, reward, skip=finished, images=images, concurrency=concurrency, progress=progress,
                       limit=limit, only=only)
        async for line in lines:
            file.write((json.dumps(line, allow_nan=False) + "\n").encode("ascii"))
            file.flush()
            outcome.scored += 1
            outcome.calls += line["usage"].get("calls", 0)
            outcome.cost_usd = _plus(outcome.cost_usd, line["usage"])
        os.fsync(file.fileno())
        if outcome.scored:
            _keep_last(out)
    wanted = {(*key_of(row)[:4], reward.fingerprint) for row in _chosen(samples, limit, only)}
    for line in rows(out):
        if key_of(line) in wanted:
            outcome.add(line)
    outcome.kept = len(wanted) - outcome.scored
    return outcome


def _chosen(samples: Path, limit: int | None, only: Rows | None) -> Iterator[dict[str, Any]]:
    """The first `limit` rows for which `only` is true; None means all."""
    return islice((row for row in rows(samples) if only is None or only(row)), limit)


def _digest(row: Mapping[str, Any]) -> str:
    """Of the answer with its ending, so that an error that was asked again is another answer."""
    text = f"{row.get('finish_reason') == 'error'}\0{row.get('completion') or ''}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _cut_torn_line(file: Any) -> None:
    """A killed run leaves at most one line without its end; it is cut off before anything is appended."""
    size = file.seek(0, os.SEEK_END)
    step = 1 << 16
    end = size
    while end > 0:
        start = max(0, end - step)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            if start + at + 1 < size:
                file.truncate(start + at + 1)
            break
        end = start
    else:
        file.truncate(0)
    file.seek(0, os.SEEK_END)


def _finished(out: Path, fingerprint: str) -> dict[Key, str]:
    """Answers of this reward that need not be scored again: key and digest of the answer."""
    finished: dict[Key, str] = {}
    for line in rows(out):
        if line.get("fingerprint") != fingerprint:
            continue
        if any(score.get("failure") in _ASK_AGAIN for score in line.get("scores", ())):
            finished.pop(key_of(line), None)
        else:
            finished[key_of(line)] = str(line.get("completion_sha256"))
    return finished


def _keep_last(out: Path) -> None:
    """Where an answer was scored again, leave its last line only; the file is replaced in one step."""
    last: dict[Key, int] = {}
    count = 0
    with out.open("rb") as file:
        for count, raw in enumerate(file, 1):
            last[key_of(json.loads(raw))] = count
        if count == len(last):
            return
        keep = set(last.values())
        file.seek(0)
        draft = out.with_suffix(".draft")
        with draft.open("wb") as kept:
            kept.writelines(raw for number, raw in enumerate(file, 1) if number in keep)
            kept.flush()
            os.fsync(kept.fileno())
    draft.replace(out)


def _plus(total: float | None, usage: Mapping[str, Any]) -> float | None:
    """Money spent by this run so far; replies from the cache cost nothing."""
    if not usage.get("calls"):
        return total
    cost = usage.get("cost_usd")
    return None if total is None or cost is None else total + cost
