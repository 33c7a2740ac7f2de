"""A stage's checkpoints: which one is good, what is kept when something breaks, and the finished model.

    STAGE/trainer/checkpoint-40/complete.json     the trainer's state; the mark is written when everything else is
    STAGE/checkpoint/                              the finished model: safetensors, tokenizer, manifest.json

A stage killed at any moment goes on from the newest marked checkpoint; unmarked ones are removed. A full disk leaves
the last good one. The finished folder appears whole or not at all. Must not import trl.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from bench.manifest import write_json
from bench.models.checkpoint import PATTERNS, fingerprint
from rewards.errors import UserError
from trainers.world import World

MARK = "complete.json"
_FULL = re.compile(r"no space left|disk quota|file write failed|PytorchStreamWriter failed", re.IGNORECASE)
_WEIGHTS = re.compile(r".*\.safetensors(\.index\.json)?|config\.json|generation_config\.json|manifest\.json")


class Mark(TrainerCallback):
    """Marks a checkpoint as whole once every process has written its part."""

    def __init__(self, world: World) -> None:
        self.world = world

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After transformers has written and rotated."""
        self.world.wait()
        if self.world.main:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(folder / MARK, {"step": state.global_step})


def last_good(folder: Path) -> tuple[Path, int] | None:
    """The newest whole checkpoint in `folder` and its step; removes the ones that were cut short. None: start anew."""
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if (path / MARK).is_file():
            found[int(path.name.rpartition("-")[2])] = path
        else:
            shutil.rmtree(path)
    return (found[max(found)], max(found)) if found else None


@contextmanager
def disk_guard(folder: Path, what: str) -> Iterator[None]:
    """Turns a full disk, as whichever library words it, into one line; the last good checkpoint stays."""
    try:
        yield
    except (OSError, RuntimeError) as problem:
        full = getattr(problem, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _FULL.search(str(problem))
        if not full:
            raise
        good = last_good(folder) if folder.is_dir() else None
        kept = f"checkpoint {good[1]} is kept" if good else "there is no checkpoint yet"
        raise UserError(f"{what}: the disk is full ({str(problem).splitlines()[0][:120]}); {kept}: free space, then "
                        "run the same command again") from problem


def finish(out: Path, parent: Path, save: Callable[[Path], None], world: World, manifest: Mapping[str, Any]) -> None:
    """Write the finished model: weights by `save` (on every process), the rest from the parent's folder.

    The processor that training uses has no video half, and saved it would be no stock folder for vLLM or others: so
    tokenizer and preprocessor files are copied as they are.
    """
    part = out.with_name(out.name + ".part")
    if world.main:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    world.wait()
    save(part)
    world.wait()
    if not world.main:
        return
    for path in part.iterdir():  # model cards, processors, pickled arguments: not part of a checkpoint here
        if path.is_dir():
            shutil.rmtree(path)
        elif not _WEIGHTS.fullmatch(path.name):
            path.unlink()
    for pattern in PATTERNS:
        for path in parent.glob(pattern):
            if not _WEIGHTS.fullmatch(path.name):
                shutil.copyfile(path, part / path.name)
    write_json(part / "manifest.json", {**manifest, "fingerprint": fingerprint(part)})
    for path in part.glob("*.safetensors"):  # which are written for their owner alone: others score them too
        path.chmod((part / "manifest.json").stat().st_mode)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
