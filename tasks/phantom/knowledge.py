"""What is asked of a phantom image and by which written rule the answer follows from its facts.

>>> margin = kinds("ct")["margin"]
>>> margin.values["spiculated"].means[0]
'spikes at the rim'
>>> facts = {"nodule_side": "left", "nodule_size": "mass", "margin": "spiculated", "effusion": "none"}
>>> evaluate(kinds("ct")["diagnosis"], facts)
'cancer'

The texts stand in `atlas/<task>.toml`, one file a modality, so that a medical reader can check them without reading
code. A *kind* is one thing that can be asked. It either names one fact (`attribute`) or derives its value from several
(`when`, `points`): that is the medical knowledge. Criteria follow the published scales named in the atlas files;
diagnoses are the phantom's own rules and no medical advice.

Standard library only. Must not import torch or anything of `bench`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tasks.phantom.facts import MODALITIES

ATLAS = Path(__file__).parent / "atlas"

EMPTY = ("absent", "none", "not applicable")
"""Attribute values that say a finding is not there."""


@dataclass(frozen=True, slots=True)
class Value:
    """One possible answer of a kind.

    `name` is the option text, unique within the task. `means` are wordings of the criterion that defines it.
    `when` maps an attribute, "points" or another kind to the values that it must have (empty for a kind that names
    one fact). `cites` lists the attributes that a complete reasoning states; "a|b" asks for one of them.
    """

    key: str
    name: str
    means: tuple[str, ...]
    when: Mapping[str, tuple[Any, ...]]
    cites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be asked about an image of a task.

    `type` is one of OmniMedVQA's five question types. `where` restricts the images that it is asked of.
    `uses` holds every attribute that its value or its `where` depends on, also through the sampler's constraints.
    `companion` marks kinds whose values are uniform under `facts.sample_facts` (given `where`): only these are asked
    beside another question of the same image, see `tasks.phantom.questions`.
    """

    task: str
    name: str
    type: str
    ask: tuple[str, ...]
    attribute: str | None
    values: Mapping[str, Value]
    where: Mapping[str, tuple[Any, ...]]
    points: Mapping[str, Mapping[str, int]]
    uses: frozenset[str]
    companion: bool


@cache
def kinds(task: str) -> Mapping[str, Kind]:
    """The kinds of `task` in the order of its atlas file. Raises ValueError for an unknown task."""
    return _atlas(task)[0]


@cache
def outdated(task: str) -> tuple[tuple[str, ...], ...]:
    """Superseded criteria of `task`, each in several wordings."""
    return _atlas(task)[1]


def evaluate(kind: Kind, facts: Mapping[str, Any]) -> str | None:
    """Key of the value that `facts` give `kind`, or None when the rules leave it open or it is not asked there."""
    if not _holds(kind, kind.where, facts):
        return None
    if kind.attribute is not None:
        return facts.get(kind.attribute)
    return next((value.key for value in kind.values.values() if _holds(kind, value.when, facts)), None)


def required(kind: Kind, key: str, facts: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """What a complete image analysis must state: for each entry one of its attributes.

    An entry with alternatives keeps those whose finding is there ("any lesion of diabetic retinopathy").
    """
    if kind.attribute is not None:
        return ((kind.attribute,),)
    entries = (tuple(entry.split("|")) for entry in kind.values[key].cites)
    return tuple(entry if len(entry) == 1 else tuple(name for name in entry if facts.get(name) not in EMPTY)
                 for entry in entries)


def analysed(kind: Kind, key: str, facts: Mapping[str, Any], claims: Iterable[tuple[str, str]]) -> bool:
    """Whether `claims` (attribute, value) about the image are an analysis of it that the value `key` can rest on.

    Every required finding is claimed as it is, and no finding is claimed only as it is not. A claim that stands
    beside its correct counterpart is a contradiction, which is another event.
    """
    claimed = set(claims)
    right = {name for name, value in claimed if facts.get(name) == value}
    return {name for name, _ in claimed} == right and all(
        right.intersection(alternatives) for alternatives in required(kind, key, facts))


def finding(task: str, attribute: str, value: str) -> str:
    """Noun phrase of one fact, for example "few mitoses"."""
    return kinds(task)[attribute].values[value].name


def _holds(kind: Kind, conditions: Mapping[str, tuple[Any, ...]], facts: Mapping[str, Any]) -> bool:
    return all(_look_up(kind, name, facts) in allowed for name, allowed in conditions.items())


def _look_up(kind: Kind, name: str, facts: Mapping[str, Any]) -> Any:
    if name == "points":
        return sum(table[facts[attribute]] for attribute, table in kind.points.items() if facts[attribute] in table)
    if name in facts:
        return facts[name]
    return evaluate(kinds(kind.task)[name], facts)


@cache
def _atlas(task: str) -> tuple[Mapping[str, Kind], tuple[tuple[str, ...], ...]]:
    if task not in MODALITIES:
        raise ValueError(f"unknown phantom task {task!r}, expected one of {', '.join(MODALITIES)}")
    text = tomllib.loads((ATLAS / f"{task}.toml").read_text(encoding="utf-8"))
    found: dict[str, Kind] = {}
    for name, entry in text["kind"].items():
        found[name] = _kind(task, name, entry, found)
    return found, tuple(tuple(entry["says"]) for entry in text["outdated"])


def _kind(task: str, name: str, entry: Mapping[str, Any], earlier: Mapping[str, Kind]) -> Kind:
    values = {
        key: Value(key, value["name"], tuple(value["means"]),
                   {condition: tuple(allowed) for condition, allowed in value.get("when", {}).items()},
                   tuple(value.get("cites", entry.get("cites", ()))))
        for key, value in entry["value"].items()
    }
    where = {attribute: tuple(allowed) for attribute, allowed in entry.get("where", {}).items()}
    uses = {*where, *entry.get("depends", ()), *entry.get("points", {})}
    uses.update(condition for value in values.values() for condition in value.when)
    uses.update(attribute for value in values.values() for cite in value.cites for attribute in cite.split("|"))
    if "attribute" in entry:
        uses.add(entry["attribute"])
    for other in sorted(uses & set(earlier)):
        uses |= earlier[other].uses
    return Kind(task, name, entry["type"], tuple(entry["ask"]), entry.get("attribute"), values, where,
                entry.get("points", {}), frozenset(uses - {"points"}), bool(entry.get("companion", False)))
