"""One pass over a run's files: what the tables need, and a bounded number of answers for the sample browser.

    data = read_run("runs/base", keep=1000)
    data.columns.correct.shape, len(data.cards)

Runs are read by several processes; everything returned is small and picklable. Reads result files, nothing else.
"""

from __future__ import annotations

import heapq
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.inert import one_line, script_json, visible
from bench.pairing import Columns, Key, read_columns
from bench.runfolder import RunFolder, read_json
from bench.stats import Floats, Interval
from leaderboards.intervals import resampled
from rewards.errors import UserError
from rewards.types import CONTRACTS

TEXT_LIMIT = 5_000
HIGH, LOW = 0.75, 0.25
DISAGREE = 0.4
"""Judges disagree about an answer when their means of the judged parts are this far apart."""

RIGHT, CONTRACTS_DISAGREE, CUT, WRONG_HIGH, RIGHT_LOW, JUDGES_DISAGREE, FAILED, UNREAD = (1 << i for i in range(8))
"""Flags of an answer, one byte, by which the page filters."""

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Card:
    """One answer of the sample browser; `question` and `answer` are JSON, already safe in a script."""

    key: Key
    image: str
    question: str
    answer: str
    flags: int


@dataclass(frozen=True, slots=True)
class RunData:
    """What one run contributes. `judged[judge]` is aligned to `columns.keys`, NaN where that judge gave no value.

    `resampled` holds the accuracy's intervals that results.csv has not, see `leaderboards.intervals`.
    """

    path: str
    model: str
    manifest: dict[str, Any]
    training: dict[str, Any]
    results: list[dict[str, str]]
    columns: Columns
    resampled: dict[tuple[str, str], Interval]
    judges: dict[str, str]
    judged: dict[str, Floats]
    cost_usd: float | None
    cards: list[Card]


def read_run(path: str, keep: int) -> RunData:
    """Read a run folder; at most `keep` answers of each task become cards. Raises `UserError`."""
    folder = RunFolder(path)
    results = folder.results()
    if not results:
        raise UserError(f"{path!r} has no results.csv; repeat its bench.run command, which keeps the answers it has")
    scores, judges, cost = _read_scores(folder)
    picked: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
    columns = read_columns(folder, rows=_along(folder, picked, keep))
    means = {key: {fp: _judged_mean(line) for fp, line in lines.items()} for key, lines in scores.items()}
    labels = sorted(set(judges.values()))
    judged = {label: np.full(len(columns.keys), np.nan) for label in labels}
    for place, key in enumerate(columns.keys):
        for fingerprint, value in means.get((key.task, key.id), {}).items():
            if value is not None:
                judged[judges[fingerprint]][place] = value
    cards = [
        _card(row, scores.get((str(row["task"]), str(row["id"])), {}), means, judges)
        for _, pool in sorted(picked.items()) for _, _, row in pool
    ]
    training = Path(path) / "variant.json"
    return RunData(
        path, folder.model, folder.manifest, read_json(training) if training.is_file() else {}, results, columns,
        resampled([columns]), judges,
        {label: values for label, values in judged.items() if not np.isnan(values).all()}, cost,
        sorted(cards, key=lambda c: c.key),
    )


def _along(
    folder: RunFolder, picked: dict[str, list[tuple[int, str, dict[str, Any]]]], keep: int
) -> Iterator[dict[str, Any]]:
    """The run's rows; the `keep` with the smallest checksum of each task are put aside, the same ones in every run."""
    for row in folder.samples():
        if keep and str(row.get("condition") or "plain") == "plain":
            pool = picked.setdefault(str(row["task"]), [])
            mark = -zlib.crc32(f"{row['task']}\0{row['id']}".encode("utf-8", "replace"))
            entry = (mark, str(row["id"]), row)
            if len(pool) < keep:
                heapq.heappush(pool, entry)
            elif entry[:2] > pool[0][:2]:
                heapq.heapreplace(pool, entry)
        yield row


Lines = dict[tuple[str, str], dict[str, dict[str, Any]]]


def _read_scores(folder: RunFolder) -> tuple[Lines, dict[str, str], float | None]:
    """Scores by answer and fingerprint, each fingerprint's readable judge, and the cost where all of it is known."""
    found: Lines = {}
    judges: dict[str, str] = {}
    cost, known = 0.0, True
    for line in folder.scores():
        if str(line.get("condition") or "plain") != "plain":
            continue
        fingerprint = str(line.get("fingerprint") or "")
        found.setdefault((str(line["task"]), str(line["id"])), {})[fingerprint] = line
        judges.setdefault(fingerprint, _judge_name(line))
        usage = line.get("usage") or {}
        if usage.get("calls"):
            value = usage.get("cost_usd")
            if isinstance(value, int | float) and math.isfinite(value):
                cost += value
            else:
                known = False
    # Two rewards of one judge keep apart by their fingerprint.
    names = list(judges.values())
    judges = {fp: name if names.count(name) == 1 else f"{name} ({fp[:8]})" for fp, name in judges.items()}
    return found, judges, cost if found and known else None


def _judge_name(line: Mapping[str, Any]) -> str:
    judge = line.get("judge")
    if isinstance(judge, Mapping):
        parts = [str(judge.get(k)) for k in ("backend", "model") if judge.get(k)]
        return one_line(":".join(parts) or "judge", 60)
    return one_line(str(judge or "no judge"), 60)


def _judged_mean(line: Mapping[str, Any]) -> float | None:
    values = [s["value"] for s in line.get("scores") or ()
              if s.get("value") is not None and s["part"] not in ("format", "accuracy")]
    return sum(values) / len(values) if values else None


def _card(
    row: Mapping[str, Any], lines: Mapping[str, Mapping[str, Any]],
    means: Mapping[tuple[str, str], Mapping[str, float | None]], judges: Mapping[str, str],
) -> Card:
    failed = row["finish_reason"] == "error"
    parsed, correct = row.get("parsed") or {}, row.get("correct") or {}
    letters = parsed.get("letters") or {}
    known = [m for m in means.get((str(row["task"]), str(row["id"])), {}).values() if m is not None]
    mean = sum(known) / len(known) if known else None
    right = bool(correct.get("letter"))
    flags = RIGHT * right | FAILED * failed | CUT * (row["finish_reason"] == "length")
    if not failed:
        flags |= CONTRACTS_DISAGREE * (len(set(correct.values())) > 1) | UNREAD * (letters.get("letter") is None)
        flags |= WRONG_HIGH * (mean is not None and not right and mean >= HIGH)
        flags |= RIGHT_LOW * (mean is not None and right and mean <= LOW)
    flags |= JUDGES_DISAGREE * (len(known) > 1 and max(known) - min(known) >= DISAGREE)
    image = str(row.get("shown_image_sha256") or row.get("image_sha256") or "")
    question = {
        "id": clip(str(row["id"]), 200), "q": clip(str(row["question"])),
        "o": [clip(str(o), 800) for o in row["options"]], "k": int(row["answer_index"]),
        "t": clip(str(row.get("question_type") or ""), 80),
        "s": clip(str(row.get("subset") or ""), 80),
    }
    think, answer, whole = parsed.get("think"), parsed.get("answer"), str(row.get("completion") or "")
    answer_card = {
        "th": None if think is None else clip(str(think)), "an": None if answer is None else clip(str(answer), 800),
        # A well-formed completion is nothing but its two blocks; the page need not hold it twice.
        "c": None if parsed.get("well_formed") else clip(whole),
        "l": [letters.get(c) for c in CONTRACTS], "r": [correct.get(c) for c in CONTRACTS],
        "f": row["finish_reason"], "e": clip(str(row.get("error") or ""), 400), "n": row.get("tokens_out"),
        "p": clip(str(parsed.get("problem") or ""), 200),
        "s": [_score(judges[fp], s) for fp, line in sorted(lines.items()) for s in line.get("scores") or ()],
    }
    key = Key(str(row["suite"]), str(row["task"]), str(row["id"]))
    return Card(key, image if SHA256.fullmatch(image) else "", script_json(question), script_json(answer_card), flags)


def _score(judge: str, score: Mapping[str, Any]) -> dict[str, Any]:
    detail = score.get("detail") or {}
    events, evidence = detail.get("events") or {}, detail.get("evidence") or {}
    if not isinstance(events, Mapping) or not isinstance(evidence, Mapping):
        events, evidence = {}, {}
    return {
        "j": judge, "p": clip(str(score["part"]), 60), "v": score.get("value"),
        "w": clip(str(score.get("reason") or score.get("failure") or ""), 500),
        "e": [[clip(str(n), 60), bool(v), clip(str(evidence.get(n) or ""), 500)] for n, v in list(events.items())[:12]],
    }


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    """Visible text of bounded length, its middle left out where it is too long."""
    return visible(text if len(text) <= limit else text[: limit // 2] + "\n[…]\n" + text[-limit // 2 :])
