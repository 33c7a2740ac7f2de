"""`manifest.json`: what a run was, written before its first answer; a resumed run must be the same.

    manifest = describe(config, model, loaded, ...)
    require_same(stored, manifest, folder)      # UserError naming the keys that differ
    write_json(folder / "manifest.json", manifest)

Sections in `BINDING` decide whether two runs are one; the rest (batch size, device, versions) is only recorded.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rewards.errors import UserError

FORMAT = 1
BINDING = ("format", "config", "model", "data", "prompts", "parser")
FREE = {"model": {"ref", "device", "parameters"}, "config": {"model"}}
"""Keys inside a binding section that may differ: a checkpoint moved to another folder is still the same model."""

PACKAGES = ("pathvlm-bench", "torch", "transformers", "lm_eval", "numpy", "pillow")


def describe(config: dict[str, Any], model: dict[str, Any], data: dict[str, Any], prompts: dict[str, Any],
             parser: str, execution: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run that starts now; `warnings` is filled in when it ends."""
    return {"format": FORMAT, "created": datetime.now(UTC).isoformat(timespec="seconds"), "config": config,
            "model": model, "data": data, "prompts": prompts, "parser": {"version": parser}, "execution": execution,
            "versions": versions(), "warnings": []}


def versions() -> dict[str, str | None]:
    """Versions of what ran, None for a package that is not installed; `commit` of a source checkout, None elsewhere.

    A commit ends in "-dirty" where tracked files differ from it.
    """
    found: dict[str, str | None] = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    found["commit"] = _commit()
    return found


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest in `folder`, None where there is none yet. Raises UserError when it does not read."""
    path = folder / "manifest.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as problem:
        raise UserError(f"{path} does not read ({problem}); restore it, or choose another --out") from problem


def require_same(stored: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Refuse to continue another run. Raises UserError naming each key that differs, with both values."""
    for section in BINDING:
        found = list(_differences(stored.get(section), wanted.get(section), section, FREE.get(section, set())))
        if found:
            raise UserError(f"{folder} holds a run with another configuration: {'; '.join(found[:6])}; choose another "
                            "--out, or repeat that run's settings to continue it")


def note_continuation(stored: dict[str, Any], now: dict[str, Any]) -> None:
    """Add to `stored["continued"]` how a resumed part was executed, where that differs from the part before it."""
    parts = stored.get("continued", [])
    names = ("execution", "versions")
    if any(now[name] != (parts[-1] if parts else stored).get(name) for name in names):
        stored["continued"] = [*parts, {"created": now["created"], **{name: now[name] for name in names}}]


def write_json(path: Path, value: Any) -> None:
    """Write all or nothing."""
    draft = path.with_suffix(path.suffix + ".draft")
    with draft.open("w", encoding="utf-8") as out:
        out.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)


def _differences(stored: Any, wanted: Any, where: str, free: set[str]) -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        for key in sorted({*stored, *wanted} - free):
            yield from _differences(stored.get(key), wanted.get(key), f"{where}.{key}", set())
    elif stored != wanted:
        yield f"{where} is {_short(stored)} there and {_short(wanted)} now"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _commit() -> str | None:
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
                              capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
