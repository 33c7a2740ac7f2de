"""What was asked of `bench.run`, checked before anything loads.

    config = from_args(["--model", "runs/tiny", "--tasks", "path,ct", "--data", "phantom"])

Must not import torch, transformers or lm_eval: `--help` answers at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import controls
from bench.models.base import Decoding, Options
from bench.score import Budget
from rewards.errors import Parser, UserError, suggest
from tasks import TASKS, names

EPILOG = """\
examples:
  python -m bench.run --model phantom-tiny --data phantom --tasks all --controls blind,shuffled-image
  python -m bench.run --model Qwen/Qwen2.5-VL-7B-Instruct --data my-data --tasks path,ct,oct --out runs/base
  python -m bench.run --model runs/base/checkpoint --data my-data --tasks path --judge openai:gpt-4o

The same --out resumes an interrupted run. --data is a folder that holds pathmmu/ and omnimedvqa/ in their original
layouts, a file of derived rows, hub, or phantom (drawn images, not clinical data). API keys come from the environment.
"""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run: what is scored (binding for a resume), and how it is executed here (not binding)."""

    model: str
    tasks: tuple[str, ...]
    data: str
    out: Path
    decoding: Decoding
    options: Options
    split: str | None = None
    limit: int | None = None
    conditions: tuple[str, ...] = (controls.PLAIN,)
    judges: tuple[str, ...] = ()
    reward: str = "dual"
    budget: Budget = field(default_factory=Budget)
    retry_errors: bool = False
    quiet: bool = False

    def binding(self) -> dict[str, Any]:
        """The part of the manifest that a resumed run must repeat."""
        return {"model": self.model, "tasks": list(self.tasks), "split": self.split, "limit": self.limit,
                "conditions": list(self.conditions), "seed": self.decoding.seed, "decoding": self.decoding.to_dict()}

    def execution(self) -> dict[str, Any]:
        """Recorded, free to change between two parts of one run."""
        return {"data": self.data, "batch_size": self.options.batch_size, "device": self.options.device}


def parser() -> Parser:
    """The command line of `bench.run`."""
    p = Parser(prog="python -m bench.run", description="Score one model on the tasks and write a run folder.",
               epilog=EPILOG)
    p.add_argument("--model", required=True, metavar="REF", help="checkpoint folder, hub id, or backend:name")
    p.add_argument("--tasks", required=True, help=f"comma-separated: {', '.join(TASKS)}, or all")
    p.add_argument("--data", default=None, metavar="SOURCE", help="data folder, hub, or phantom")
    p.add_argument("--split", default=None, help="split of the data (default: each task's test split)")
    p.add_argument("--out", type=_folder, default=None, metavar="DIR", help="run folder (default: runs/<model>)")
    p.add_argument("--limit", type=_positive("--limit"), default=None, metavar="N",
                   help="first N samples of each task; phantom is drawn to any number")
    p.add_argument("--controls", default="", metavar="NAMES", help=f"comma-separated: {', '.join(controls.names())}")
    p.add_argument("--judge", default="", metavar="JREF[,JREF]", help="score the reasoning (rules, openai:MODEL, ...)")
    p.add_argument("--reward", default=None, metavar="SPEC", help="reward used with --judge (default: dual)")
    p.add_argument("--max-usd", type=float, default=None, metavar="X", help="stop judging cleanly at this cost")
    p.add_argument("--max-calls", type=_positive("--max-calls"), default=None, metavar="N",
                   help="stop judging cleanly after N calls")
    p.add_argument("--batch-size", type=_positive("--batch-size"), default=16, metavar="N", help="rows at a time "
                   "(default 16); halved by itself when memory runs out")
    p.add_argument("--max-new-tokens", type=_positive("--max-new-tokens"), default=1024, metavar="N",
                   help="answer length cap (default 1024)")
    p.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    p.add_argument("--top-p", type=float, default=1.0, help="nucleus sampling with a temperature (default 1)")
    p.add_argument("--max-pixels", type=_positive("--max-pixels"), default=None, metavar="N",
                   help="largest image area after resizing (default: the checkpoint's)")
    p.add_argument("--seed", type=int, default=0, help="seed of sampling and of shuffled controls (default 0)")
    p.add_argument("--device", default=None, help="cpu, cuda, cuda:1, ... (default: first GPU, else CPU)")
    p.add_argument("--dtype", default=None, help="float32, bfloat16 or float16 (default: by device)")
    p.add_argument("--base-url", default=None, metavar="URL", help="for API backends")
    p.add_argument("--retry-errors", action="store_true", help="when resuming, ask again what ended in an error")
    p.add_argument("--quiet", action="store_true", help="no progress and no table")
    return p


def from_args(argv: Sequence[str] | None = None) -> RunConfig:
    """Parse and check. Raises UserError."""
    a = parser().parse_args(argv)
    if a.temperature != 0 and not 0.01 <= a.temperature <= 10:  # below, the division leaves float32's range
        raise UserError(f"--temperature {a.temperature}: expected 0 (greedy), or a number from 0.01 to 10")
    if not 0.001 <= a.top_p <= 1:
        raise UserError(f"--top-p {a.top_p}: expected a number from 0.001 to 1")
    if a.max_usd is not None and not a.max_usd >= 0:
        raise UserError(f"--max-usd {a.max_usd}: expected an amount of 0 or more")
    judges = tuple(judge.strip() for judge in a.judge.split(",") if judge.strip())
    for flag, given in (("--reward", a.reward), ("--max-usd", a.max_usd), ("--max-calls", a.max_calls)):
        if given is not None and not judges:
            raise UserError(f"{flag} {given} needs --judge: without a judge nothing is scored (python -m "
                            "rewards.audit scores stored answers with a reward that asks none)")
    if a.data is None:
        a.data = os.environ.get("PATHVLM_DATA")
    if a.data is None:
        raise UserError("--data is missing: give a folder with pathmmu/ and omnimedvqa/ inside, hub, or phantom "
                        "(drawn images, never used unless asked for)")
    conditions = (controls.PLAIN, *_known(a.controls, controls.names(), "control"))
    out = a.out or Path("runs") / (re.sub(r"[^\w.-]+", "-", a.model).strip("-.") or "model")
    require_writable(out)
    return RunConfig(
        model=a.model, tasks=tasks_named(a.tasks), data=a.data, out=out, split=a.split, limit=a.limit,
        conditions=conditions, judges=judges, reward=a.reward or "dual",
        budget=Budget(a.max_usd, a.max_calls), retry_errors=a.retry_errors, quiet=a.quiet,
        decoding=Decoding(a.max_new_tokens, a.temperature, a.top_p, a.seed, max_pixels=a.max_pixels),
        options=Options(a.batch_size, a.device, a.dtype, a.base_url))


def tasks_named(text: str) -> tuple[str, ...]:
    """Task names from "path,ct" or "all" (the paper's five), in the project's order. Raises UserError."""
    if text.strip() == "all":
        return TASKS
    chosen = _known(text, names(), "task")
    if not chosen:
        raise UserError(f"--tasks {text!r} names no task; expected one or more of {', '.join(TASKS)}, or all")
    return tuple(task for task in names() if task in chosen)


def require_writable(out: Path) -> None:
    """Raise UserError when `out` cannot become a folder that this process writes into; creates nothing."""
    try:
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out} is a file; expected a folder, or a name for a new one")
        parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    except (OSError, ValueError) as problem:  # a name too long, a loop of links, a NUL
        raise UserError(f"--out {str(out)[:80]!r} is no usable name for a folder ({problem}); choose another") \
            from problem
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"--out {out} cannot be written: no permission in {parent}; choose another folder")


def _known(text: str, known: Sequence[str], what: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UserError(f"unknown {what} {name!r}{suggest(name, known)}; {what}s are {', '.join(known)}")
    return tuple(dict.fromkeys(names))


def _folder(text: str) -> Path:
    if not text.strip():  # Path("") is the current folder, which nobody meant
        raise UserError("--out is empty; expected a folder, or a name for a new one")
    return Path(text)


def _positive(flag: str) -> Any:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = 0
        if value < 1:
            raise UserError(f"{flag} {text}: expected a whole number of 1 or more")
        return value

    return read
