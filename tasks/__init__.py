"""Documents and prompts: PathMMU, OmniMedVQA, the authors' derived rows, and the phantom suite.

>>> import tasks
>>> samples = tasks.load("path", data="my-data", split="test")          # doctest: +SKIP

Importing this package loads no image, numeric or model library; the loaders are imported on use.
Must not import torch, transformers, trl or lm_eval.
"""

from __future__ import annotations

from pathlib import Path

from rewards.errors import UserError
from rewards.types import Sample
from tasks.loaded import Dropped, Loaded, Reason
from tasks.registry import PAPER, find, names

TASKS = PAPER
"""The paper's five tasks in the order they are reported; `names()` also has those of plug-ins."""

__all__ = ["TASKS", "Dropped", "Loaded", "Reason", "load", "names", "read"]


def load(task: str, data: str | Path, split: str | None = None, limit: int | None = None) -> list[Sample]:
    """The usable samples of one task; `read` also tells what was left out. Raises: UserError."""
    return read(task, data, split=split, limit=limit).samples


def read(task: str, data: str | Path, split: str | None = None, limit: int | None = None) -> Loaded:
    """One task from a SOURCE: a data folder, a file of derived rows, "hub", or "phantom".

    `split` None means the task's own test split. `limit` keeps the first samples in file order. Phantom data never
    stands in for real data: it is used only when asked for by name. Raises: UserError.
    """
    find(task)
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    from tasks import source

    return source.read(task, data, split, limit)
