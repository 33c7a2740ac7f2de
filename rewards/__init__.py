"""Rewards: one scorer for training, evaluation and the audit, and the only reader of answers.

    import rewards
    reward = rewards.load("dual", judge="rules")
    result = await reward.score(sample, "<think>...</think><answer>B) text</answer>")
    rewards.parse.parse(text, options).letters["letter"]

Importing this package imports no tensor library, no trainer, no harness and no vendor SDK. The names below are looked
up on first use, so that `rewards.types` and `rewards.parse` cost no more than themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewards import parse
    from rewards.registry import JudgedPart, Part, PartSettings, part
    from rewards.reward import Reward, load

__all__ = ["JudgedPart", "Part", "PartSettings", "Reward", "load", "parse", "part"]

_HOME = {"JudgedPart": "registry", "Part": "registry", "PartSettings": "registry", "part": "registry",
         "Reward": "reward", "load": "reward"}


def __getattr__(name: str) -> Any:
    if name == "parse":
        return import_module("rewards.parse")
    if name in _HOME:
        return getattr(import_module(f"rewards.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
