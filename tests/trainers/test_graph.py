"""The family of variants: who is trained, in which order, and which families cannot be."""

import pytest

from rewards.errors import UserError
from trainers.graph import line, stages
from trainers.recipe import Data, Recipe, Variant

FAMILY = {"r1": "beta", "alpha": "base", "clean": "base", "beta": "alpha", "gamma": "alpha", "clean-beta": "clean"}
"""In the recipe's order: r1 stands before its ancestors."""


def recipe(parents):
    return Recipe(name="r", base="b", data={"d": Data(split="train")},
                  variants={name: Variant(parent=parent, stage="sft", data="d") for name, parent in parents.items()})


def names(found):
    return [stage.name for stage in found]


def test_parents_first_and_a_child_follows_its_parent():
    found = names(stages(recipe(FAMILY)))
    assert found == ["alpha", "beta", "r1", "gamma", "clean", "clean-beta"]
    for name, parent in FAMILY.items():
        assert parent == "base" or found.index(parent) < found.index(name)


def test_siblings_keep_the_recipes_order():
    assert names(stages(recipe({"b": "base", "a": "base", "c": "base"}))) == ["b", "a", "c"]
    assert names(stages(recipe({"a": "base", "z": "a", "m": "a", "b": "base"}))) == ["a", "z", "m", "b"]


def test_order_is_the_depth_below_the_base():
    assert {stage.name: stage.order for stage in stages(recipe(FAMILY), seed=3)} == {
        "alpha": 1, "beta": 2, "r1": 3, "gamma": 2, "clean": 1, "clean-beta": 2}
    assert line(recipe(FAMILY), "r1") == ["alpha", "beta", "r1"]


def test_stages_carry_seed_and_variant():
    family = recipe(FAMILY)
    assert all(stage.seed == 3 and stage.variant is family.variants[stage.name] for stage in stages(family, seed=3))


def test_ancestors_come_along_unwanted():
    found = stages(recipe(FAMILY), only=["r1"])
    assert [(stage.name, stage.wanted) for stage in found] == [("alpha", False), ("beta", False), ("r1", True)]
    found = stages(recipe(FAMILY), only=["r1", "beta"])
    assert [(stage.name, stage.wanted) for stage in found] == [("alpha", False), ("beta", True), ("r1", True)]
    assert all(stage.wanted for stage in stages(recipe(FAMILY)))


def test_a_shared_ancestor_is_trained_once():
    assert names(stages(recipe(FAMILY), only=["gamma", "beta"])) == ["alpha", "beta", "gamma"]


def test_the_base_alone_trains_nothing():
    assert stages(recipe(FAMILY), only=["base"]) == []


def test_an_unknown_variant_is_named_with_the_closest():
    with pytest.raises(UserError) as caught:
        stages(recipe({"alpha": "base", "beta": "alpha"}), only=["alpha", "betta"])
    assert str(caught.value) == ("--variants: no variant 'betta' (did you mean 'beta'?); this recipe has alpha, beta")


@pytest.mark.parametrize(("parents", "circle"), [
    ({"a": "a"}, "a -> a"),
    ({"a": "b", "b": "a"}, "a -> b -> a"),
    ({"a": "b", "b": "c", "c": "a"}, "a -> b -> c -> a"),
    ({"top": "base", "a": "b", "b": "a"}, "a -> b -> a"),
    ({"tail": "a", "a": "b", "b": "a"}, "a -> b -> a"),  # the tail is no part of the circle
])
def test_a_circle_is_named(parents, circle):
    with pytest.raises(UserError) as caught:
        stages(recipe(parents))
    assert str(caught.value) == f"the variants' parents run in a circle: {circle}"


def test_a_circle_is_found_even_where_nobody_wants_it():
    with pytest.raises(UserError, match="circle"):
        stages(recipe({"top": "base", "a": "b", "b": "a"}), only=["top"])
