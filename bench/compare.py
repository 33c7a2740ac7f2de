"""Are two models really different? Paired comparison of runs on the same samples.

    python -m bench.compare runs/base runs/r1 --reference base --json pairs.json

Prints, for every pair and task, the difference in points with its image-cluster bootstrap interval, how many answers
flipped each way, McNemar's p and its Holm-adjusted value, and the smallest difference the test set could have shown.
Must not import torch, transformers or lm_eval.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewards.errors import Parser, UserError, run_cli
from rewards.types import CONTRACTS

if TYPE_CHECKING:
    from rich.console import Console

    from bench.effects import Comparison, Effect
    from bench.stats import Interval

EPILOG = """\
examples:
  python -m bench.compare runs/base runs/r1
  python -m bench.compare runs/base runs/gamma runs/r1 --reference gamma --json pairs.json
  python -m bench.compare base=runs/base r1=runs/r1-s0,runs/r1-s1,runs/r1-s2     several training seeds of one variant

Runs whose samples, prompts, parser or decoding differ are refused. Transfer is the mean over ct, derm, fundus and oct
of (variant - reference), in points.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns 0."""
    arguments = parser().parse_args(argv)
    if arguments.resamples < 100:
        raise UserError(f"--resamples {arguments.resamples} is too few for an interval; expected 100 or more")
    from bench.effects import compare
    from bench.pairing import align, variants_of

    variants = variants_of(arguments.runs)
    reference = arguments.reference
    if reference is not None and reference not in {v.name for v in variants}:
        # A reference given as a folder joins the comparison.
        by_path = {run: v.name for v in variants for run in v.runs}
        if reference in by_path:
            reference = by_path[reference]
        elif Path(reference).is_dir():
            added = variants_of([*arguments.runs, reference])
            variants, reference = added, added[-1].name
    tasks = [t for t in (arguments.tasks or "").split(",") if t] or None
    pairs = align(variants, condition=arguments.condition, tasks=tasks)
    found = compare(pairs, contract=arguments.contract, resamples=arguments.resamples, seed=arguments.seed,
                    reference=reference)
    if arguments.json is not None:
        part = arguments.json.with_name(arguments.json.name + ".part")
        part.write_text(json.dumps(as_dict(found), indent=1, ensure_ascii=True, allow_nan=False) + "\n", "utf-8")
        part.replace(arguments.json)
    print_comparison(found)
    return 0


def parser() -> Parser:
    """The command line of `bench.compare`."""
    made = Parser(prog="python -m bench.compare", description="Are two models really different?", epilog=EPILOG)
    made.add_argument("runs", nargs="+", metavar="RUN", help="a run folder, or NAME=RUN[,RUN...] for several seeds")
    made.add_argument("--reference", metavar="RUN", help="the variant that transfer is measured against")
    made.add_argument("--contract", choices=CONTRACTS, default="letter", help="extraction contract (default: letter)")
    made.add_argument("--condition", default="plain", help="plain, or a control that all runs have (default: plain)")
    made.add_argument("--tasks", metavar="LIST", help="compare on these tasks only, e.g. ct,oct")
    made.add_argument("--resamples", type=int, default=10_000, metavar="N", help="bootstrap resamples (default: 10000)")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of the resampling (default: 0)")
    made.add_argument("--json", type=Path, metavar="OUT", help="write everything, with every flipped answer, as JSON")
    return made


def print_comparison(found: Comparison, console: Console | None = None, examples: int = 2) -> None:
    """Print effects by task, the breakdowns that are significant, transfer, and (of two runs) some flipped answers."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bench.effects import flips
    from bench.inert import one_line

    console = console or Console()
    names = [one_line(v.name, 40) for v in found.pairs.variants]
    whole = [e for e in found.effects if not e.by]
    apart = [e for e in found.effects if e.by and e.significant]
    tested = sum(e.test is not None for e in whole)
    console.print(Text(
        f"contract {found.contract}; differences in points, 95 % intervals from {found.resamples:,} resamples of "
        f"images; p of McNemar, Holm-adjusted over {tested} tests; bold is significant; sees: the smallest difference "
        "found with 80 % power; breakdowns only where significant"), soft_wrap=True)
    for a, b in dict.fromkeys((e.a, e.b) for e in whole):
        table = Table(title=Text(f"{names[a]} - {names[b]}"), title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0),
                      pad_edge=False)
        table.add_column("task", overflow="fold", min_width=6)
        for name in ("n", "first", "second", "difference", "flips", "p Holm", "sees"):
            table.add_column(name, justify="right", no_wrap=True)
        for e in whole:
            if (e.a, e.b) == (a, b):
                count = str(e.n) if e.n == e.n_paired else f"{e.n_paired}/{e.n}"
                table.add_row(Text(one_line(e.task, 40)), count, *_cells(e), style="bold" if e.significant else "")
        console.print(table)
        for e in apart:
            if (e.a, e.b) == (a, b):
                where = f"{one_line(e.task, 40)}, {e.by.replace('_', ' ')} {one_line(e.level, 60)}"
                console.print(Text(f"  {where} (n {e.n_paired}): {signed(e.difference)}"), soft_wrap=True)
    if found.transfers:
        table = Table(title="transfer (variant - reference), points", title_justify="left", box=SIMPLE,
                      padding=(0, 1, 0, 0), pad_edge=False)
        for name in ("variant", "reference", "modality", "difference"):
            table.add_column(name, overflow="fold")
        for t in found.transfers:
            for task, value in t.modalities.items():
                table.add_row(Text(names[t.variant]), Text(names[t.reference]), task, signed(value))
            mean = f"no mean: {', '.join(t.missing)} missing" if t.mean is None else signed(t.mean)
            table.add_row(Text(names[t.variant]), Text(names[t.reference]), "mean of four", mean, style="bold")
        console.print(table)
    if len(names) > 2:
        return
    for e in whole:
        for word, rows in zip(("gained", "lost"), flips(found, e), strict=True):
            for row in rows[:examples]:
                key = found.pairs.keys[row]
                places = " and ".join(
                    f"{one_line(found.pairs.variants[v].runs[0], 200)}/samples.jsonl:"
                    f"{found.pairs.lines[row][found.pairs.owners.index(v)]}" for v in (e.a, e.b))
                console.print(Text(f"{word} {one_line(key.task, 40)} {one_line(key.id, 80)}: {places}"), soft_wrap=True)


def signed(found: Interval | None) -> str:
    """"+1.20 [-0.35, +2.75]" in points; "-" where missing, no brackets without an interval."""
    if found is None:
        return "-"
    text = f"{100 * found.value:+.2f}"
    if found.low is None or found.high is None:
        return f"{text} ({found.method})"
    return f"{text} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


def as_dict(found: Comparison) -> dict[str, Any]:
    """Everything as plain JSON values, differences in points (percent).

    `flips` holds two lists, the answers that only `a` got right and those that only `b` did, with their places.
    """
    from bench.effects import flips

    names = [v.name for v in found.pairs.variants]
    first_run = {v: list(found.pairs.owners).index(v) for v in range(len(names))}

    def place(row: int, variant: int) -> str:
        return f"{found.pairs.variants[variant].runs[0]}/samples.jsonl:{found.pairs.lines[row][first_run[variant]]}"

    def flipped(rows: Sequence[int], e: Effect) -> list[dict[str, str]]:
        return [{"task": found.pairs.keys[r].task, "id": found.pairs.keys[r].id, "a": place(r, e.a), "b": place(r, e.b)}
                for r in rows]

    return {
        "contract": found.contract, "resamples": found.resamples, "seed": found.seed,
        "variants": [{"name": v.name, "runs": list(v.runs)} for v in found.pairs.variants],
        "effects": [
            {
                "a": names[e.a], "b": names[e.b], "suite": e.suite, "task": e.task, "by": e.by, "level": e.level,
                "n": e.n, "n_paired": e.n_paired, "accuracy_a": _points(e.accuracy_a),
                "accuracy_b": _points(e.accuracy_b), "difference": interval_dict(e.difference),
                "mcnemar": None if e.test is None else {
                    "gained": e.test.gained, "lost": e.test.lost, "exact": e.test.exact},
                "p": e.p, "p_holm": e.p_holm, "significant": e.significant, "detectable": _points(e.detectable),
                "flips": None if e.by else [flipped(rows, e) for rows in flips(found, e)],
            } for e in found.effects
        ],
        "transfer": [
            {
                "variant": names[t.variant], "reference": names[t.reference], "suite": t.suite,
                "modalities": {task: interval_dict(i) for task, i in t.modalities.items()},
                "mean": interval_dict(t.mean), "missing": list(t.missing),
            } for t in found.transfers
        ],
    }


def interval_dict(found: Interval | None) -> dict[str, Any] | None:
    """An interval in points (percent); None stays None."""
    if found is None:
        return None
    return {"value": _points(found.value), "low": _points(found.low), "high": _points(found.high), "n": found.n,
            "n_groups": found.n_groups, "method": found.method}


def _points(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 6)


def _cells(e: Effect) -> tuple[str, ...]:
    if e.accuracy_a is None or e.accuracy_b is None or e.detectable is None:
        return ("-", "-", "no answer in both", "-", "-", "-")
    flipped = "-" if e.test is None else f"+{e.test.gained} -{e.test.lost}"
    p = "-" if e.p_holm is None else "<0.001" if e.p_holm < 0.001 else f"{e.p_holm:.3f}"
    return (f"{100 * e.accuracy_a:.1f}", f"{100 * e.accuracy_b:.1f}", signed(e.difference), flipped, p,
            f"{100 * e.detectable:.1f}")


if __name__ == "__main__":
    run_cli(main)
