"""Score a model: generate, score, aggregate, with files between the stages.

    python -m bench.run --model CKPT --data my-data --tasks path,ct,oct --out runs/base

Writes `manifest.json`, `samples.jsonl`, `scores.jsonl` (with a judge), `results.csv` and `report.html` into the run
folder; the same command resumes. Heavy libraries are imported after the arguments and the data have been checked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import controls, manifest, score
from bench.config import RunConfig, from_args
from rewards.errors import UserError, run_cli
from rewards.types import Sample


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    run(from_args(argv))
    return 0


def run(config: RunConfig) -> Path:
    """Run or resume every stage; returns the run folder. Raises UserError."""
    samples, data = load(config)
    stored = manifest.read(config.out)
    rewards = score.rewards_of(config.out, config.reward, config.judges, config.budget)
    described = answer(config, samples, data, stored)
    said = score.score(config.out, samples, rewards, config.quiet) + score.same_judge(config.model, rewards)
    finish(config, samples, {**described, "rewards": score.judged(described.get("rewards", []), rewards)}, said)
    return config.out


def load(config: RunConfig) -> tuple[list[Sample], dict[str, Any]]:
    """Samples of all tasks in order, and what the manifest says about the data. Raises UserError."""
    import tasks

    samples: list[Sample] = []
    data: dict[str, Any] = {}
    for task in config.tasks:
        loaded = tasks.read(task, config.data, split=config.split, limit=config.limit)
        if not loaded.samples:
            raise UserError(f"task {task} has no usable row in {config.data} "
                            f"({'; '.join(f'{n} {reason}' for reason, n in loaded.reasons().items()) or 'no rows'})")
        data[task] = {"suite": loaded.suite, "data_sha256": loaded.data_sha256, "n": len(loaded.samples),
                      "images": len({sample.group for sample in loaded.samples}), "dropped": loaded.reasons(),
                      "dropped_rows": [{"id": row.id, "reason": row.reason.value, "detail": row.detail}
                                       for row in loaded.dropped]}
        samples += loaded.samples
        if loaded.dropped and not config.quiet:
            reasons = ", ".join(f"{n} {reason}" for reason, n in loaded.reasons().items())
            print(f"{task}: {len(loaded.dropped)} rows left out ({reasons}); manifest.json lists them", file=sys.stderr)
    return samples, data


def answer(config: RunConfig, samples: Sequence[Sample], data: dict[str, Any],
           stored: dict[str, Any] | None) -> dict[str, Any]:
    """Stage one; returns the run's manifest. Nothing is written before the model stands."""
    from bench.generate import generate, plan
    from bench.journal import Journal
    from bench.models.base import resolve
    from bench.models.checkpoint import training
    from rewards import parse
    from tasks import prompts

    if stored is not None:  # refuse before the slow part what can be refused before it
        early = {**stored, "config": config.binding(), "data": data}
        manifest.require_same(stored, json.loads(json.dumps(early)), config.out)
    shown = [presented for condition in config.conditions for task in config.tasks
             for presented in controls.present(condition, [s for s in samples if s.task == task], config.decoding.seed)]
    model = resolve(config.model, config.decoding, config.options)
    now = manifest.describe(config.binding(), model.describe(), data, {"version": prompts.VERSION}, parse.VERSION,
                            config.execution())
    now["training"] = training(config.model)
    if stored is not None:
        manifest.require_same(stored, json.loads(json.dumps(now)), config.out)
    items = plan(shown, model, config.decoding, prompts.VERSION)
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(f"--out {config.out} cannot be made: {problem.strerror}; choose another folder") from problem
    with Journal(config.out / "samples.jsonl") as journal:
        if stored is None:
            if journal.done:
                raise UserError(f"{config.out} holds answers without a manifest.json; choose another --out")
            manifest.write_json(config.out / "manifest.json", now)
        if config.retry_errors:
            journal.drop_errors()
        if stored is not None and any(item.key not in journal.done for item in items):
            manifest.note_continuation(stored, now)
            manifest.write_json(config.out / "manifest.json", stored)
        generate(model, items, journal, quiet=config.quiet)
        journal.finish([item.key for item in items])
    return stored or now


def finish(config: RunConfig, samples: Sequence[Sample], described: dict[str, Any], said: Sequence[str]) -> None:
    """Stage three: `results.csv`, `report.html`, the table and the warnings; `said` are those of the judges."""
    from bench import aggregate, report
    from bench.runfolder import RunFolder
    from bench.thumbnail import store_thumbnails

    folder = RunFolder(config.out)
    rows = aggregate.write_results(
        config.out / "samples.jsonl", config.out / "results.csv", scores_path=config.out / "scores.jsonl",
        model=described["config"]["model"])  # the name the run began under; the checkpoint may have moved since
    described["warnings"] = [*aggregate.warnings(rows), *said]
    manifest.write_json(config.out / "manifest.json", described)
    images = {sample.image_sha256: sample.image for sample in samples}

    def shown(row: Mapping[str, Any]) -> bytes | None:
        source = images.get(str(row["shown_image_sha256"]))
        return None if source is None else source.read()

    report.write_report(config.out / "report.html", rows=rows, samples=folder.samples(), manifest=described,
                        image=shown, scores=folder.scores())
    store_thumbnails(config.out, (sample.image for sample in samples))  # for the leaderboard's sample browser
    if not config.quiet:
        report.print_table(rows)
        for text in said:
            print(f"warning: {text}")
        print(f"results in {config.out}: results.csv, samples.jsonl, report.html")


if __name__ == "__main__":
    run_cli(main)
