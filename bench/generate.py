"""Stage one: put every question to the model and write each answer down as it comes.

    items = plan(samples, conditions, model, decoding, task_version="1")
    generate(model, items, journal)

Each item has a key over everything that can change its answer; keys found in the journal are not asked again.
Must not import torch: the model brings it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.controls import Presented
from bench.journal import Journal
from bench.models.base import Decoding, Model, Request
from rewards.parse import parse
from rewards.types import CONTRACTS, LETTERS, Completion, Sample
from tasks.prompts import prompt_sha256, render


@dataclass(frozen=True, slots=True)
class Item:
    """One question in one condition, as a request with its journal key."""

    presented: Presented
    request: Request
    key: str


def plan(presented: Sequence[Presented], model: Model, decoding: Decoding, task_version: str) -> list[Item]:
    """Requests in order, each with its key: model fingerprint, rendered prompt, image, decoding, task version, id."""
    settings = json.dumps(decoding.to_dict(), sort_keys=True)
    items = []
    for shown in presented:
        request = Request(render(shown.sample), shown.image)
        image = shown.image.sha256 if shown.image else ""
        parts = (model.fingerprint, model.render(request), image, settings, task_version, shown.sample.suite,
                 shown.sample.task, shown.sample.id, shown.condition)
        key = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        items.append(Item(shown, request, key))
    return items


def generate(model: Model, items: Sequence[Item], journal: Journal, quiet: bool = False) -> int:
    """Answer every item that the journal does not hold; returns how many were asked."""
    done = journal.done
    todo = [item for item in items if item.key not in done]
    if not todo:
        return 0
    for index, completion in _progress(model.generate([item.request for item in todo]), len(todo), len(done), quiet):
        journal.append(row(todo[index], completion))
    return len(todo)


def row(item: Item, completion: Completion) -> dict[str, Any]:
    """One line of `samples.jsonl`: the fields of the contract, and the ones this bench adds to them."""
    shown = item.request.image.sha256 if item.request.image else None
    return {"key": item.key, **answer_row(item.presented.sample, item.presented.condition, completion,
                                          prompt_sha256(item.request.prompt), shown)}


def answer_row(sample: Sample, condition: str, completion: Completion, prompt_sha256: str,
               shown_image_sha256: str | None) -> dict[str, Any]:
    """One answer with everything that a reward, an audit or a page needs of it; training logs its rollouts like this.

    An error has no answer: `parsed` and `correct` are null there, which is missing, not wrong.
    """
    answered = completion.finish_reason != "error"
    parsed = parse(completion.text, sample.options) if answered else None
    right = LETTERS[sample.answer_index]
    return {
        "suite": sample.suite, "task": sample.task, "id": sample.id, "group": sample.group,
        "condition": condition, "subset": sample.subset, "split": sample.split,
        "question": sample.question, "options": list(sample.options), "answer_index": sample.answer_index,
        "question_type": sample.question_type, "image_sha256": sample.image_sha256,
        "shown_image_sha256": shown_image_sha256, "prompt_sha256": prompt_sha256,
        "completion": completion.text, "finish_reason": completion.finish_reason,
        "tokens_in": completion.tokens_in, "tokens_out": completion.tokens_out,
        "latency_s": None if completion.latency_s is None else round(completion.latency_s, 4),
        "error": completion.error,
        "parsed": None if parsed is None else {
            "think": parsed.think, "answer": parsed.answer, "well_formed": parsed.well_formed,
            "letters": {name: parsed.letters[name] for name in CONTRACTS}, "problem": parsed.problem,
            "truncated": parsed.truncated},
        "correct": None if parsed is None else {name: parsed.letters[name] == right for name in CONTRACTS},
        "reference": sample.reference, "facts": None if sample.facts is None else dict(sample.facts),
    }


def _progress(answers: Iterator[tuple[int, Completion]], total: int, kept: int,
              quiet: bool) -> Iterator[tuple[int, Completion]]:
    """The same answers behind a progress bar on a terminal, one line elsewhere."""
    resumed = f", {kept} kept from before" if kept else ""
    if quiet or not sys.stderr.isatty():
        if not quiet:
            print(f"asking {total} questions{resumed}", file=sys.stderr)
        yield from answers
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield from bar.track(answers, total=total, description=f"asking{resumed}")
