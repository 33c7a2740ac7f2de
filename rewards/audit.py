"""Re-score stored answers with any reward, judge or penalty, and compare with the scores stored beside them.

    python -m rewards.audit runs/r1/samples.jsonl --reward dual --judge rules
    python -m rewards.audit runs/r1/samples.jsonl --reward dual --judge rules --penalty 0.3 --out sweep.jsonl

The samples are not changed. Verdicts are kept in `judge-cache.sqlite` beside the samples:
another penalty, or the same command again, asks nothing twice. Must not import `tasks`, `bench` or a vendor SDK.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.errors import Parser, UserError, run_cli
from rewards.reward import Reward, load
from rewards.scoring import Mean, Outcome, Rows, key_of, score_file
from rewards.stored import AbsentImage, Images, folder_images, rows, sample_from_row

EPILOG = """examples:
  python -m rewards.audit runs/r1/samples.jsonl --reward outcome
  python -m rewards.audit runs/r1 --reward dual --judge rules --penalty 0.3
  python -m rewards.audit runs/r1 --reward dual --judge openai:gpt-4o --images data/pathmmu/images --max-usd 5
"""


@dataclass(slots=True)
class Compared:
    """One part in two files: `n` answers that stand in both, how many differ, by how much at most, the stored mean."""

    n: int = 0
    differ: int = 0
    largest: float = 0.0
    stored: Mean | None = None


def main(argv: Sequence[str] | None = None) -> int | None:
    """Score, print the table, name what differs."""
    options = _parser().parse_args(argv)
    samples = options.samples / "samples.jsonl" if options.samples.is_dir() else options.samples
    if not samples.is_file():
        raise UserError(f"no stored answers at {str(samples)!r}; expected the samples.jsonl of a run, or its folder")
    reward = _reward(options, samples)
    stored = options.compare or samples.with_name("scores.jsonl")
    if options.compare and not options.compare.is_file():
        raise UserError(f"no stored scores at {str(options.compare)!r}")
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "scores.jsonl"
        outcome = asyncio.run(_run(options, samples, reward, out))
        other = stored.is_file() and stored.resolve() != out.resolve()
        fingerprint, compared = compare(out, reward.fingerprint, stored) if other else (None, {})
    _print_table(reward, outcome, compared)
    _print_notes(reward, outcome, fingerprint, compared, stored, options.out)
    return 0


def compare(out: Path, fingerprint: str, stored: Path) -> tuple[str | None, dict[str, Compared]]:
    """By part, the scores of `fingerprint` in `out` against stored ones on the same answers.

    Compared is with the same fingerprint where `stored` has it, else with the one that stands last in it; its name is
    returned, None where the file is empty.
    """
    marks = dict.fromkeys(str(line.get("fingerprint")) for line in rows(stored))
    if not marks:
        return None, {}
    chosen = fingerprint if fingerprint in marks else list(marks)[-1]
    before = {key_of(line)[:4]: _values(line) for line in rows(stored) if str(line.get("fingerprint")) == chosen}
    found: dict[str, Compared] = {}
    for line in rows(out):
        if line["fingerprint"] != fingerprint or key_of(line)[:4] not in before:
            continue
        old = before[key_of(line)[:4]]
        for part, value in _values(line).items():
            if part not in old:
                continue
            entry = found.setdefault(part, Compared(stored=Mean()))
            entry.n += 1
            if entry.stored is not None:
                entry.stored.add(old[part])
            if value is None or old[part] is None:
                entry.differ += value is not old[part]
            elif abs(value - old[part]) > 1e-9:
                entry.differ += 1
                entry.largest = max(entry.largest, abs(value - old[part]))
    return chosen, found


def _values(line: dict[str, Any]) -> dict[str, Any]:
    return {**{str(score["part"]): score.get("value") for score in line.get("scores", ())}, "total": line.get("total")}


def _parser() -> Parser:
    parser = Parser(prog="python -m rewards.audit", description=(__doc__ or "").splitlines()[0], epilog=EPILOG)
    parser.add_argument("samples", type=Path, metavar="SAMPLES", help="samples.jsonl of a run, or the run's folder")
    parser.add_argument("--reward", required=True, metavar="SPEC",
                        help="TOML file, or outcome, dual, reasoning, quality")
    parser.add_argument("--judge", metavar="JREF", help="rules, openai:MODEL[@URL], anthropic:MODEL, local:CKPT")
    parser.add_argument("--penalty", type=float, metavar="X", help="what one defect costs (default: the spec's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write scores.jsonl lines here; the same file resumes")
    parser.add_argument("--compare", type=Path, metavar="FILE",
                        help="stored scores (default: scores.jsonl beside the samples, if there)")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder with the images, found by content")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="judge cache (default: beside the samples)")
    parser.add_argument("--replay", action="store_true", help="answer from the cache only, never ask")
    parser.add_argument("--max-usd", type=float, metavar="X", help="stop cleanly at this cost")
    parser.add_argument("--max-calls", type=int, metavar="N", help="stop cleanly after so many judge calls")
    parser.add_argument("--concurrency", type=int, default=16, metavar="N", help="judge calls at a time (default 16)")
    parser.add_argument("--condition", default="plain", metavar="NAME",
                        help="answers of this condition (default plain, which leaves controls out; all: every one)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N answers")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _reward(options: Any, samples: Path) -> Reward:
    """The reward with its judge; a judge that nothing needs is a mistake worth saying."""
    plain = load(options.reward, penalty=options.penalty)
    reference = options.judge or plain.spec.judge.ref
    if not plain.judged:
        if options.judge:
            raise UserError(f"reward {plain.name!r} has no judged part; leave --judge out")
        return plain
    if reference is None:
        raise UserError(f"reward {plain.name!r} has judged parts ({', '.join(plain.judged)}): name a judge with "
                        "--judge, for example rules (phantom data only) or openai:MODEL")
    cache = options.cache or samples.with_name("judge-cache.sqlite")
    ledger = samples.with_name("judge-ledger.jsonl") if _costs(reference) else None
    settings = {"cache": cache, "ledger": ledger, "replay": options.replay, "concurrency": options.concurrency,
                "max_usd": options.max_usd, "max_calls": options.max_calls}
    return load(options.reward, reference, options.penalty, settings)


def _costs(reference: str) -> bool:
    """Rules and scripts cost nothing and look at no image: no ledger is kept of them, no image asked for."""
    return reference != "rules" and not reference.startswith("scripted:")


def _check_images(options: Any, samples: Path, reward: Reward, images: Images | None) -> None:
    """One mistake in one line, before a thousand requests without their image."""
    reference = options.judge or reward.spec.judge.ref
    if not (reward.shows_images and reference and _costs(reference)) or options.replay:
        return
    cache = options.cache or samples.with_name("judge-cache.sqlite")
    first = next(rows(samples), None)
    if first is not None and not cache.exists() and isinstance(sample_from_row(first, images).image, AbsentImage):
        raise UserError(f"reward {reward.name!r} shows its judge the image, and the image of {first['id']!r} is not at "
                        "hand: add --images DIR, or set image = false in the [judge] table of a spec of your own")


async def _run(options: Any, samples: Path, reward: Reward, out: Path) -> Outcome:
    images = folder_images(options.images) if options.images else None
    _check_images(options, samples, reward, images)
    progress = False if options.quiet else None
    async with reward:
        return await score_file(samples, reward, out, images=images, concurrency=4 * options.concurrency,
                                progress=progress, limit=options.limit, only=_condition(options.condition))


def _condition(name: str) -> Rows | None:
    """Controls (blind, shuffled images) do not belong into one mean with plain answers."""
    return None if name == "all" else lambda row: (row.get("condition") or "plain") == name


def _print_table(reward: Reward, outcome: Outcome, compared: dict[str, Compared]) -> None:
    heading = ["part", "mean", "n_scored/n"] + (["stored mean", "differ", "largest"] if compared else [])
    table = [heading]
    for part in (*reward.parts, "total"):
        mean = outcome.means.get(part, Mean())
        line = [part, _shown(mean.mean), f"{mean.n_scored}/{mean.n}"]
        if compared:
            other = compared.get(part)
            line += ["-", "-", "-"] if other is None or other.stored is None else [
                _shown(other.stored.mean), f"{other.differ}/{other.n}", _shown(other.largest)]
        table.append(line)
    widths = [max(len(line[column]) for line in table) for column in range(len(heading))]
    for line in table:
        cells = [cell.ljust(width) if not column else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(line, widths, strict=True))]
        print("  ".join(cells).rstrip())


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _print_notes(
    reward: Reward, outcome: Outcome, fingerprint: str | None, compared: dict[str, Compared], stored: Path,
    out: Path | None,
) -> None:
    print(f"reward {reward.name} {reward.fingerprint}; {outcome.scored} scored now, {outcome.kept} kept from before")
    if reward.judged:
        cost = "unknown" if outcome.cost_usd is None else f"{outcome.cost_usd:.4f} USD"
        print(f"judge calls {outcome.calls}, cost {cost}")
    for part, mean in outcome.means.items():
        for failure, count in sorted(mean.failures.items()):
            if part != "total":
                print(f"missing: {part} {count} of {mean.n} ({failure})")
    if fingerprint is not None:
        same = "the same reward" if fingerprint == reward.fingerprint else f"another reward ({fingerprint})"
        changed = sum(entry.differ for part, entry in compared.items() if part != "total")
        print(f"compared with {stored}: {same}, {changed} part values differ")
    if out is not None:
        print(f"written to {out}")
    health = getattr(reward.judge, "health", None)
    for warning in health.warnings() if health is not None else ():
        print(f"warning: {warning}", file=sys.stderr)
    stopped = getattr(reward.judge, "stopped", None)
    if stopped:
        print(f"warning: stopped asking: {stopped}; run the same command with --out to go on", file=sys.stderr)


if __name__ == "__main__":
    run_cli(main)
