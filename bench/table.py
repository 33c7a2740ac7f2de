"""The table at the end of a run, on the terminal: every accuracy with its interval, then the warnings.

    print_table(rows)          # rows of bench.aggregate.aggregate or of results.csv

Text from data or models is shown with control characters visible and without markup. Must not import torch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import aggregate, stats
from bench.inert import one_line

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, Any]
WIDE = 110


def print_table(rows: Iterable[Row], console: Console | None = None) -> None:
    """Print whole tasks (a line each: n, accuracy by contract with 95 % interval, rates, tokens), then warnings."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = list(rows)
    console = console or Console(width=None if sys.stdout.isatty() else 2 * WIDE)  # a file or a pipe has no edge
    lines = by_task(found)
    several = len({model for model, *_ in lines}) > 1
    conditions = {condition for *_, condition, _ in lines} != {"plain"}
    # On a narrow terminal only the default contract keeps its interval, and a run with controls has no room for the
    # last two columns; results.csv has them all.
    narrow = console.width < WIDE
    contracts = ("letter", "strict", "omnimed")
    shown = {c: share if c == "letter" or not narrow else partial(plain, scale=100) for c in contracts}
    last = {"read": ("parse_rate", "letter"), "cap": ("cap_rate", ""), "format": ("format_rate", ""),
            "tokens": ("tokens_mean", "")}
    if narrow and conditions:
        del last["format"], last["tokens"]
    suites = sorted({suite for _, suite, *_ in lines})
    places = {(suite, task) for _, suite, task, *_ in lines}
    ambiguous = len({task for _, task in places}) < len(places)
    names = "" if several or not lines else f"{one_line(lines[0][0], 60)}: "
    names += "" if ambiguous or not lines else f"{one_line(', '.join(suites), 60)}, "
    table = Table(title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.title = Text(f"{names}accuracy in %, 95 % interval resampled by image")
    for name, wanted in (("model", several), ("task", True), ("condition", conditions)):
        if wanted:
            table.add_column(name, overflow="fold", min_width=9)
    for name in ("n", *contracts, *last):
        table.add_column(name, justify="right", no_wrap=True)
    for model, suite, task, condition, cell in lines:
        scored, n = cell["n"]
        labels = [model] * several + [f"{suite}/{task}" if ambiguous else task] + [condition] * conditions
        table.add_row(
            *(Text(one_line(label, 60)) for label in labels),
            str(n) if scored == n else f"{scored}/{n}",
            *(Text(shown[c](cell.get(("accuracy", c)))) for c in contracts),
            *(plain(cell.get(key), 1 if name == "tokens" else 100) for name, key in last.items()),
        )
    console.print(table)
    for warning in aggregate.warnings(found):
        console.print(Text(f"warning: {one_line(warning, 500)}", style="yellow"), soft_wrap=True)


def by_task(rows: Iterable[Row]) -> list[tuple[str, str, str, str, dict[Any, Any]]]:
    """(model, suite, task, condition, cell) for whole tasks; cell maps (metric, contract) to its best-interval row.

    The image-cluster interval is preferred; Wilson's stands in where there is no other. `cell["n"]` is
    (n_scored, n) of the accuracy. Rewards stay out.
    """
    cells: dict[tuple[str, str, str, str], dict[Any, Any]] = {}
    for row in rows:
        if row.get("by") or str(row["metric"]).startswith("reward."):
            continue
        cell = cells.setdefault((row["model"], row["suite"], row["task"], row["condition"]), {})
        key = (row["metric"], row["contract"])
        if key not in cell or (row["ci_method"] != stats.WILSON and row["ci_low"] not in (None, "")):
            cell[key] = row
        if row["metric"] == "accuracy":
            cell["n"] = (int(row["n_scored"]), int(row["n"]))
    return [(*place, cell) for place, cell in cells.items()]


def share(row: Row | None) -> str:
    """"64.0 [52.1, 74.9]" in percent; "-" where missing, without brackets where there is no interval."""
    if row is None or row["value"] in (None, ""):
        return "-"
    text = f"{100 * float(row['value']):.1f}"
    if row["ci_low"] in (None, "") or row["ci_high"] in (None, ""):
        return text
    return f"{text} [{100 * float(row['ci_low']):.1f}, {100 * float(row['ci_high']):.1f}]"


def plain(row: Row | None, scale: float) -> str:
    """The value alone with one decimal, "-" where missing."""
    return "-" if row is None or row["value"] in (None, "") else f"{scale * float(row['value']):.1f}"
