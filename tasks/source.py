"""Which loader a SOURCE leads to: original layouts, derived rows, the hub, or the phantom suite.

>>> read("ct", "my-data", None, None).suite                             # doctest: +SKIP
'omnimedvqa'

Must not import torch or lm_eval.
"""

from __future__ import annotations

from pathlib import Path

from rewards.errors import UserError
from tasks import registry
from tasks.loaded import Loaded


def read(task: str, data: str | Path, split: str | None, limit: int | None) -> Loaded:
    """Dispatch by what `data` is. Raises: UserError when it is nothing that can be read."""
    if str(data) == "phantom":
        from tasks.phantom import suite

        return suite.read(task, split or "test", n=limit)  # a drawn split has no end: the limit is its size
    if str(data) == "hub":
        from tasks import hub

        return _folder(task, hub.fetch(task), split, limit)
    return _folder(task, _existing(data), split, limit)


def _folder(task: str, source: Path, split: str | None, limit: int | None) -> Loaded:
    from tasks import derived

    if source.is_file() or derived.is_derived(source):
        return derived.read(source, task, split, limit)
    return registry.find(task).read(source, task, split, limit)


def _existing(data: str | Path) -> Path:
    if not str(data).strip():
        raise UserError("no data source given: expected a folder with pathmmu/ and omnimedvqa/ inside, hub, or phantom")
    path = Path(data).expanduser()
    try:
        if not path.exists():
            raise UserError(f"data source {str(data)!r} does not exist: expected a folder with pathmmu/ and/or "
                            "omnimedvqa/ inside, a file of derived rows, hub, or phantom")
        if path.is_dir() and not any(path.iterdir()):
            raise UserError(f"data folder {path} is empty: expected pathmmu/ and/or omnimedvqa/ inside")
    except (OSError, ValueError) as problem:
        raise UserError(f"cannot read data source {str(data)!r}: {problem}") from problem
    return path
