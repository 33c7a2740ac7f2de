"""Made-up runs with chosen right and wrong answers, for tests, timings and simulations; never a model's result.

    write_run("made/a", {"ct": [True, False, True]}, model="a", suite="omnimedvqa")

Writes the same files as `bench.run` (manifest.json, samples.jsonl, scores.jsonl when `rewards` are given, results.csv
when `results` is set). The questions depend on `data_seed` only, so two runs with the same one can be paired. Used
where a number must be known beforehand; published tables never hold such a run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.aggregate import write_results
from rewards.types import CONTRACTS

OPTIONS = ("no abnormality", "a benign change", "a malignant change", "an artefact of preparation")
TYPES = ("Disease Diagnosis", "Modality Recognition", "Anatomy Identification")
FINGERPRINT = "reward-synthetic-1"


def manifest_of(model: str, counts: Mapping[str, int], suite: str, data_seed: int, **changes: Any) -> dict[str, Any]:
    """A manifest with the keys of bench.run; `changes` replace whole top-level entries."""
    made = {
        "format": 1,
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "model": model, "tasks": sorted(counts), "data": suite, "limit": None, "seed": 0, "max_new_tokens": 512,
            "batch_size": 16, "conditions": ["plain"], "decoding": {"do_sample": False, "max_new_tokens": 512},
        },
        "model": {"ref": model, "fingerprint": _digest(model)},
        "data": {t: {"suite": suite, "data_sha256": _digest(suite, t, n, data_seed), "n": n, "dropped": {}}
                 for t, n in sorted(counts.items())},
        "prompts": {"version": 1, "sha256": _digest("prompt")},
        "versions": {"pathvlm-bench": "0.1.0", "torch": "2.13.0"},
        "task_versions": dict.fromkeys(sorted(counts), 1),
        "warnings": [],
    }
    return {**made, **changes}


def answer_row(task: str, number: int, right: bool, *, suite: str, group: str, **changes: Any) -> dict[str, Any]:
    """One samples.jsonl row whose answer is right or wrong under all three contracts; `changes` replace fields."""
    index = int(hashlib.sha256(f"{task}{number}".encode()).hexdigest(), 16) % 4
    chosen = index if right else (index + 1) % 4
    letter, text = "ABCD"[chosen], OPTIONS[chosen]
    think = f"The image shows a change number {number}; {OPTIONS[(chosen + 2) % 4]} is excluded."
    row = {
        "suite": suite, "task": task, "id": f"{task}-{number:05d}", "group": group,
        "condition": "plain", "question": f"What does image {number} show?", "options": list(OPTIONS),
        "answer_index": index, "question_type": TYPES[number % 3], "subset": ("first", "second")[number % 2],
        "split": "test", "image_sha256": _digest(group), "prompt_sha256": _digest(suite, task, number),
        "completion": f"<think>{think}</think><answer>{letter}) {text}</answer>", "finish_reason": "stop",
        "tokens_in": 300, "tokens_out": 40 + number % 30, "latency_s": 0.1, "error": None,
        "parsed": {"think": think, "answer": f"{letter}) {text}", "well_formed": True,
                   "letters": dict.fromkeys(CONTRACTS, letter), "problem": None},
        "correct": dict.fromkeys(CONTRACTS, right),
    }
    return {**row, **changes}


def write_run(
    folder: str | Path,
    right: Mapping[str, Sequence[bool]],
    *,
    model: str,
    suite: str = "omnimedvqa",
    per_image: int = 2,
    data_seed: int = 0,
    rewards: Callable[[Mapping[str, Any]], Mapping[str, float | None]] | None = None,
    results: bool = False,
    edit: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    **manifest: Any,
) -> Path:
    """Write a run of `model` that answers as `right` says (task -> a verdict for each question).

    `per_image` questions share an image on average. `rewards` maps a sample row to part -> value (None is missing);
    `edit` changes a row before it is written. Returns the folder.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    counts = {task: len(verdicts) for task, verdicts in right.items()}
    (path / "manifest.json").write_text(
        json.dumps(manifest_of(model, counts, suite, data_seed, **manifest), indent=2, sort_keys=True) + "\n", "utf-8"
    )
    with (path / "samples.jsonl").open("w", encoding="utf-8") as samples, \
            (path / "scores.jsonl").open("w", encoding="utf-8") as scores:
        for task, verdicts in sorted(right.items()):
            rng = np.random.default_rng([data_seed, *task.encode()])
            images = rng.integers(0, max(1, len(verdicts) // per_image), size=len(verdicts))
            for number, verdict in enumerate(verdicts):
                group = f"{suite}-{task}-image-{images[number]}"
                row = answer_row(task, number, bool(verdict), suite=suite, group=group)
                row = edit(row) if edit else row
                samples.write(json.dumps(row) + "\n")
                if rewards:
                    scores.write(json.dumps(_score_row(row, rewards(row))) + "\n")
    if not rewards:
        (path / "scores.jsonl").unlink()
    if results:
        write_results(path / "samples.jsonl", path / "results.csv", model=model, scores_path=path / "scores.jsonl")
    return path


def _score_row(row: Mapping[str, Any], parts: Mapping[str, float | None]) -> dict[str, Any]:
    values = list(parts.values())
    missing = any(value is None for value in values)
    return {
        "id": row["id"], "task": row["task"], "condition": row["condition"], "fingerprint": FINGERPRINT,
        "total": None if missing else sum(v for v in values if v is not None),
        "scores": [{"part": part, "value": value, "reason": "made up", "failure": "timeout" if value is None else None,
                    "detail": {}} for part, value in parts.items()],
        "judge": "synthetic", "usage": {"tokens_in": 10, "tokens_out": 5, "cost": None},
    }


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
