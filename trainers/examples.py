"""What a stage is trained on: samples with the text to imitate, and the check that no image is trained and tested.

    examples = read(recipe, recipe.data["sft-3000"], seed=1)
    examples.samples[0].question, examples.targets[0], examples.sha256
    require_disjoint({"sft-3000": ..., "test": ...})

Phantom data are drawn for the family's seed and explained by a teacher of the recipe; real data bring their own
reasoning. Must not import torch, transformers or trl.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tasks
from rewards.errors import UserError, suggest
from rewards.types import Sample
from tasks import prompts
from tasks.derived import solution_text
from trainers.recipe import Data, Recipe, digest

if TYPE_CHECKING:
    from PIL import Image

    from tasks.phantom.teacher import Teacher

PHANTOM = "phantom"
DESCRIBE = "Describe the image."


@dataclass(frozen=True, slots=True)
class Examples:
    """Samples in order, the prompt and the target of each, and a hash.

    `left_out` counts rows that have no target by reason. `sha256` covers everything that can change a weight: texts,
    options, answers and images (of drawn images the recipe that they are drawn from).
    """

    samples: list[Sample]
    prompts: list[str]
    targets: list[str]
    sha256: str
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)


def read(recipe: Recipe, data: Data, seed: int) -> Examples:
    """The examples of one data set; the same arguments give the same examples. Raises UserError."""
    from tasks.phantom.teacher import teach

    found = _samples(recipe, data, seed)
    teacher = _teacher(recipe, data)
    asked: list[str] = []
    targets: list[str] = []
    kept: list[Sample] = []
    left_out: dict[str, int] = {}
    seen: set[str] = set()
    for sample in found:
        if data.target == "description":
            if sample.group in seen:  # one description an image
                continue
            seen.add(sample.group)
            text, prompt = describe(sample), DESCRIBE
        elif data.target == "answer":
            text, prompt = f"<answer>{sample.answer}</answer>", prompts.render(sample)
        elif sample.suite == PHANTOM:
            text, prompt = teach(sample, teacher, seed).target, prompts.render(sample)
        else:
            text, prompt = solution_text(sample.answer, sample.reference), prompts.render(sample)
            if text == sample.answer:
                left_out["no reasoning"] = left_out.get("no reasoning", 0) + 1
                continue
        kept.append(sample)
        asked.append(prompt)
        targets.append(prompts.inert(text))  # data neither end a turn nor claim an image
    if not kept:
        raise UserError(f"data set {data.split!r} of {recipe.source_of(data)!r} has no usable row ("
                        f"{', '.join(f'{n} {reason}' for reason, n in left_out.items()) or 'no rows'})")
    rows = [[s.id, p, t, s.answer_index, image_key(s)] for s, p, t in zip(kept, asked, targets, strict=True)]
    return Examples(kept, asked, targets, digest(rows), left_out)


def image_key(sample: Sample) -> str:
    """What tells two images apart: the content's hash; of a drawn image its name, which no other drawing has."""
    return sample.group if sample.suite == PHANTOM else sample.image_sha256


def require_disjoint(sets: Mapping[str, Sequence[Sample]], held_out: Mapping[str, Sequence[Sample]]) -> None:
    """Refuse images that are trained on in one set and stand in another, or are scored. Raises UserError.

    The same images under two names of one split are no overlap: SFT and GRPO on the same rows is a question of the
    paper. `tasks.splits` also finds near-duplicates; a folder that it made is verified whole before it is used.
    """
    owners = {name: frozenset(image_key(s) for s in samples) for name, samples in {**sets, **held_out}.items()}
    names = list(owners)
    for place, one in enumerate(names[:len(sets)]):  # what is scored twice overlaps nothing that is trained
        for other in names[place + 1:]:
            common = owners[one] & owners[other]
            same = owners[one] <= owners[other] or owners[other] <= owners[one]
            if common and not (same and other in sets):
                raise UserError(f"{len(common)} images stand in both {one} and {other} (first "
                                f"{min(common)[:24]}): a model would be tested on what it was trained on; make "
                                "image-disjoint splits with `python -m tasks.splits`")


def verify_source(source: str) -> None:
    """A folder made by `tasks.splits` must still be what its manifest says, without overlap. Raises UserError."""
    from tasks.split_files import KIND, verify

    manifest = Path(source) / "manifest.json"
    try:
        made_here = manifest.is_file() and KIND in manifest.read_text(encoding="utf-8", errors="replace")
    except OSError as problem:
        raise UserError(f"{manifest} does not read: {problem.strerror}") from problem
    if made_here:
        verify(Path(source))


def describe(sample: Sample) -> str:
    """Every nameable fact of a phantom image, in the atlas's words and order. Raises UserError for other images."""
    from tasks.phantom.facts import VALUES
    from tasks.phantom.knowledge import finding, kinds

    if sample.suite != PHANTOM:
        raise UserError('target = "description" is for phantom images: nobody knows the facts of a real one')
    facts = sample.facts or {}
    known = kinds(sample.task)
    said = [finding(sample.task, name, facts[name]) for name in VALUES[sample.task]
            if name in known and known[name].attribute == name and facts.get(name) in known[name].values]
    return "See: " + ", ".join(said) + "."


def joined(parts: Sequence[Examples]) -> Examples:
    """Several data sets as one."""
    if len(parts) == 1:
        return parts[0]
    left_out: Counter[str] = Counter()
    for part in parts:
        left_out.update(part.left_out)
    return Examples([s for p in parts for s in p.samples], [t for p in parts for t in p.prompts],
                    [t for p in parts for t in p.targets], digest([p.sha256 for p in parts]), left_out)


def rows(examples: Examples, stage: str) -> Any:
    """A `datasets.Dataset` whose rows are made on use: prompt and image, SFT's completion, GRPO's row number."""
    from datasets import Dataset

    drawn: dict[str, Image.Image] = {}  # small, and drawing one costs more than a step's share of the training

    def picture(sample: Sample) -> Image.Image:
        if sample.suite != PHANTOM:
            return sample.image.open()
        if sample.group not in drawn:
            drawn[sample.group] = sample.image.open()
        return drawn[sample.group].copy()

    def made(batch: Mapping[str, list[int]]) -> dict[str, list[Any]]:
        places = batch["row"]
        found: dict[str, list[Any]] = {
            "prompt": [[{"role": "user", "content": examples.prompts[i]}] for i in places],
            "images": [[picture(examples.samples[i])] for i in places],
        }
        if stage == "sft":
            found["completion"] = [[{"role": "assistant", "content": examples.targets[i]}] for i in places]
        else:
            found["row"] = list(places)
        return found

    return Dataset.from_dict({"row": list(range(len(examples)))}).with_transform(made)


@lru_cache(maxsize=16)
def _phantom(task: str, split: str, limit: int | None, seed: int) -> list[Sample]:
    from tasks.phantom.suite import samples

    return samples(task, split, n=limit, seed=seed)


def _samples(recipe: Recipe, data: Data, seed: int) -> list[Sample]:
    source = recipe.source_of(data)
    found: list[Sample] = []
    for task in data.tasks:
        if source == PHANTOM:
            found += _phantom(task, data.split, data.limit, seed)
        else:
            found += tasks.load(task, source, split=data.split, limit=data.limit)
    return found


def _teacher(recipe: Recipe, data: Data) -> Teacher:
    from dataclasses import fields

    from tasks.phantom.teacher import Teacher

    given = recipe.teachers.get(data.teacher or "", {})
    known = [entry.name for entry in fields(Teacher)]
    for key in given:
        if key not in known:
            raise UserError(f"teachers.{data.teacher}: unknown flaw {key!r}{suggest(key, known)}; known: "
                            f"{', '.join(known)}")
    try:
        return Teacher(**given)
    except TypeError as problem:
        raise UserError(f"teachers.{data.teacher}: a flaw is a number in [0, 1] ({problem})") from problem
