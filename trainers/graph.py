"""The family of variants: parents before children, each trained once however many children it has.

    for stage in stages(recipe, only=["r1"], seed=1):
        stage.name, stage.order              # alpha 1, beta 2, r1 3: what r1 needs comes along

Standard library and `trainers.recipe` only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rewards.errors import UserError, suggest
from trainers.recipe import BASE, Recipe, Variant


@dataclass(frozen=True, slots=True)
class Stage:
    """One variant of one seed. `order` is its depth below the base (base 0); `wanted` False for a mere ancestor."""

    name: str
    variant: Variant
    order: int
    seed: int
    wanted: bool = True


def stages(recipe: Recipe, only: Collection[str] | None = None, seed: int = 0) -> list[Stage]:
    """The variants in `only` (None: all) and the ancestors they need, parents first, else in the recipe's order.

    Raises:
        UserError: a name that is no variant, or a circle of parents.
    """
    for name in only or ():
        if name != BASE and name not in recipe.variants:
            raise UserError(f"--variants: no variant {name!r}{suggest(name, recipe.variants)}; this recipe has "
                            f"{', '.join(recipe.variants)}")
    lines = {name: line(recipe, name) for name in recipe.variants}
    needed = {member for name in lines if only is None or name in only for member in lines[name]}
    ordered = sorted(needed, key=lambda name: (len(lines[name]), list(recipe.variants).index(name)))
    # depth first reads better than level by level: a child follows its parent as soon as it can
    found: list[Stage] = []
    for name in sorted(ordered, key=lambda n: [list(recipe.variants).index(m) for m in lines[n]]):
        variant = recipe.variants[name]
        found.append(Stage(name, variant, len(lines[name]), seed, only is None or name in only))
    return found


def line(recipe: Recipe, name: str) -> list[str]:
    """From the first variant below the base down to `name`. Raises UserError on a circle."""
    found = [name]
    while (parent := recipe.variants[found[0]].parent) != BASE:
        if parent in found:
            circle = found[found.index(parent)::-1]  # without what merely hangs on it
            raise UserError(f"the variants' parents run in a circle: {' -> '.join([*circle, parent])}")
        found.insert(0, parent)
    return found
