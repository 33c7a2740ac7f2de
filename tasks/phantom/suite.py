"""The phantom suite as samples: `--data phantom`, four splits of any size, images drawn on use.

>>> loaded = read("derm", split="test", n=20)
>>> loaded.samples[0].suite, len(loaded.samples)
('phantom', 20)
>>> loaded.samples[0].id
'phantom-derm-test-000000-q0'

Not clinical data: every id, group and row says phantom. An image is a function of (seed, task, split, index); the four
splits use disjoint streams and disjoint drawing seeds, so no image stands in two splits, whatever their sizes. A split
of n samples is the beginning of the same split with more: results on 100 are results on the first 100 of 1,000.
Nothing is drawn before a sample's image is used. Must not import torch or anything of `bench`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rewards.errors import UserError, suggest
from rewards.types import Sample
from tasks.images import MemoryImage
from tasks.loaded import Loaded, finish
from tasks.phantom.canvas import MAX_SIZE, MIN_SIZE
from tasks.phantom.chains import gold
from tasks.phantom.facts import MODALITIES, from_dict
from tasks.phantom.knowledge import kinds
from tasks.phantom.questions import OPTIONS, Question, ask

SPLITS = ("train", "rl", "validation", "test")
SIZES = {"train": 3000, "rl": 1000, "validation": 300, "test": 300}
"""Samples of a split when `n` is not given; the first two are the paper's."""

SIZE = 96
"""Side of an image in pixels by default: large enough for a person, small enough to draw a split in seconds."""


def read(task: str, split: str = "test", n: int | None = None, size: int | None = None, seed: int = 0,
         options: int = OPTIONS, only: Collection[str] | None = None) -> Loaded:
    """`n` samples of one split (None: `SIZES`), two or three questions an image.

    `size` in 48 to 448 px (None: 96), `options` in 2 to 5 offered at most, `seed` >= 0 names the data set, `only`
    restricts the kinds of question. The hash of the result draws every image once. Raises: UserError.
    """
    return finish(samples(task, split, n, size, seed, options, only), [], "phantom")


def samples(task: str, split: str = "test", n: int | None = None, size: int | None = None, seed: int = 0,
            options: int = OPTIONS, only: Collection[str] | None = None) -> list[Sample]:
    """The samples of `read`, without drawing anything. Raises: UserError."""
    _check(task, split, n, size, seed, options, only)
    wanted = SIZES[split] if n is None else n
    found: list[Sample] = []
    for index in range(wanted):
        if len(found) >= wanted:
            break
        found += _image_samples(task, split, index, SIZE if size is None else size, seed, options, only)
    return found[:wanted]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picklable recipe of one image: calling it gives the PNG bytes, the same in every process.

    `facts` are the sorted items of the facts of the image (hashable); `seed` varies its looks only.
    """

    task: str
    facts: tuple[tuple[str, Any], ...]
    seed: int
    size: int

    def __call__(self) -> bytes:
        """PNG bytes."""
        return _png(self)


@lru_cache(maxsize=64)
def _png(drawing: Drawing) -> bytes:
    from tasks.phantom.draw import draw, encode_png

    return encode_png(draw(drawing.task, from_dict(dict(drawing.facts)), drawing.seed, drawing.size).image)


def _image_samples(task: str, split: str, index: int, size: int, seed: int, options: int,
                   only: Collection[str] | None) -> Iterator[Sample]:
    place = (seed, MODALITIES.index(task), SPLITS.index(split))
    facts, asked = ask(task, np.random.Generator(np.random.PCG64([*place, index])), options, only)
    # injective, so that no two images of any task, split or seed share their looks
    looks = ((place[0] * len(MODALITIES) + place[1]) * len(SPLITS) + place[2]) * 2**32 + index
    group = f"phantom-{task}-{split}-{index:06d}" if seed == 0 else f"phantom-{task}-s{seed}-{split}-{index:06d}"
    image = MemoryImage(Drawing(task, _items(facts), looks, size), group)
    for number, question in enumerate(asked):
        yield Sample(
            suite="phantom", task=task, id=f"{group}-q{number}", group=group, question=question.text,
            options=question.options, answer_index=question.answer_index, question_type=question.about.type,
            image=image, subset=question.kind, split=split,
            reference=_reference(question, (*place, index, number)),
            facts={**facts, "question": question.to_dict(), "drawn": {"seed": looks, "size": size}},
        )


def stored_image(row: Mapping[str, Any]) -> MemoryImage | None:
    """The image of a row of `samples.jsonl`, drawn again from its facts; None where they are no phantom facts.

    What the entry-point group `pathvlm_bench.images` offers for this suite: stored answers name images by hash only.
    """
    try:
        facts = dict(row["facts"])
        drawn = facts.pop("drawn")
        facts.pop("question")
        size, looks = int(drawn["size"]), int(drawn["seed"])
        from_dict(facts)
    except (KeyError, TypeError, ValueError):
        return None
    return MemoryImage(Drawing(str(facts["modality"]), _items(facts), looks, size), str(row.get("group") or "phantom"))


def _items(facts: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in facts.items()))


def _reference(question: Question, place: tuple[int, ...]) -> str:
    return gold(question, np.random.Generator(np.random.PCG64([*place])), "plain").text


def _check(task: str, split: str, n: int | None, size: int | None, seed: int, options: int,
           only: Collection[str] | None) -> None:
    if task not in MODALITIES:
        raise UserError(f"unknown task {task!r}{suggest(task, MODALITIES)}; tasks are {', '.join(MODALITIES)}")
    if split not in SPLITS:
        raise UserError(f"phantom has no split {split!r}{suggest(split, SPLITS)}; splits are {', '.join(SPLITS)}")
    if n is not None and n < 1:
        raise UserError(f"phantom needs at least 1 sample a split, not {n}")
    if size is not None and not MIN_SIZE <= size <= MAX_SIZE:
        raise UserError(f"phantom images have {MIN_SIZE} to {MAX_SIZE} px a side, not {size}")
    if seed < 0:
        raise UserError(f"a phantom seed is 0 or more, not {seed}")
    if not 2 <= options <= 5:
        raise UserError(f"phantom questions offer 2 to 5 options, not {options}")
    for name in only or ():
        if name not in kinds(task):
            raise UserError(f"phantom {task} has no kind {name!r}{suggest(name, kinds(task))}; kinds are "
                            f"{', '.join(kinds(task))}")
    if only is not None and not only:
        raise UserError("an empty selection of kinds leaves nothing to ask")
