"""A new tiny network for recipes without a base model: random weights, and a tokenizer made from the recipe's texts.

    folder = build(recipe, out / "base" / "checkpoint")

The unchanging end of every prompt becomes one token, because it carries no information here. Imports torch on use.
"""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

from bench import tiny
from rewards.errors import UserError, suggest
from tasks import prompts
from tasks.phantom.suite import samples
from trainers.examples import read
from trainers.recipe import Recipe


def build(recipe: Recipe, folder: Path) -> Path:
    """Write the checkpoint unless it stands already. Raises UserError for an unknown key of [model.scratch]."""
    given = dict(recipe.model.scratch or {})
    known = [entry.name for entry in fields(tiny.Shape)]
    for key in given:
        if key not in known:
            raise UserError(f"model.scratch: unknown key {key!r}{suggest(key, known)}; known: {', '.join(known)}")
    if folder.is_dir():
        return folder
    seed = recipe.seeds[0]
    texts: list[str] = []
    for data in recipe.data.values():
        examples = read(recipe, data, seed)
        texts += [*examples.targets, *(prompt.replace(instruction(), "") for prompt in examples.prompts)]
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    tiny.build(part, tiny.Shape(**given), seed=seed, corpus=texts, plain_tokens=[*tiny.ANSWER_TAGS, instruction()])
    part.rename(folder)
    return folder


def instruction() -> str:
    """How every prompt ends."""
    sample = samples("path", "train", n=1)[0]
    return prompts.render(sample).rsplit(sample.options[-1], 1)[1].strip()
