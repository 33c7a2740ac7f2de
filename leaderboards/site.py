"""The pages: index.html (ranking and plots), one a variant, samples.html (the browser), with their style and scripts.

    write_site(boards, Path("board"), reference="base")

Every printed text is made visible and escaped; the Content-Security-Policy allows this folder's own files only, so a
page works from `file://` and from any static server, and asks nobody else.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bench.aggregate import OUT_OF_DOMAIN, OUT_OF_DOMAIN_TASK
from bench.effects import MEAN
from bench.inert import one_line, script_json, visible
from bench.report import flatten
from leaderboards.boards import Board, Row
from leaderboards.charts import curves, matrix, whiskers
from leaderboards.chunks import write_chunks
from leaderboards.tables import percent, rate, shown_tasks

HERE = Path(__file__).parent
ASSETS = ("page.css", "index.js", "samples.js")
MATRIX_LIMIT = 24
"""Boards with more variants show no pair matrix on the page; pairs.csv has every pair."""


def write_site(boards: list[Board], folder: Path, *, reference: str | None = None) -> None:
    """Write the pages, their assets and the browser's data into an empty folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    for name in ASSETS:
        shutil.copyfile(HERE / name, folder / name)
    meta = write_chunks(boards, folder)
    (folder / "data" / "meta.js").write_text(f"PVB(\"meta\",{script_json(meta)});\n", encoding="ascii")
    (folder / "index.html").write_text(
        env.get_template("index.html.j2").render(boards=[_board(b, reference) for b in boards], reference=reference),
        encoding="utf-8",
    )
    (folder / "samples.html").write_text(env.get_template("samples.html.j2").render(), encoding="utf-8")
    (folder / "variants").mkdir()
    for board in boards:
        for row in board.rows:
            (folder / "variants" / f"{row.id}.html").write_text(
                env.get_template("variant.html.j2").render(_variant(board, row)), encoding="utf-8")


def _board(board: Board, reference: str | None) -> dict[str, Any]:
    tasks = shown_tasks(board)
    return {
        "id": board.id, "suite": one_line("+".join(board.suites), 80), "n": sum(board.n.values()),
        "phantom": "phantom" in board.suites, "tasks": tasks,
        "key": [(one_line(k, 80), one_line(v, 160)) for k, v in flatten(board.key) if not k.startswith("tasks")],
        "rows": [_row(row, tasks) for row in board.rows],
        "judges": _judged(board),
        "charts": list(_charts(board, reference)),
        "matrix": _pair_matrix(board),
        "referenced": reference in {row.entry.variant.name for row in board.rows},
    }


def _judged(board: Board) -> list[tuple[str, str]]:
    """(judge, part) of the parts that a judge gave; format and accuracy stand in columns of their own already."""
    known = {place for row in board.rows for place in row.parts}
    return sorted(place for place in known if place[1] not in ("total", "format", "accuracy"))


def _row(row: Row, tasks: Sequence[tuple[str, str]]) -> dict[str, Any]:
    cells = []
    for task, _ in tasks:
        found = row.accuracy.get((task, "letter"))
        bar = None
        if found is not None and found.low is not None and found.high is not None:
            bar = [round(100 * v, 1) for v in (found.low, found.high - found.low, found.value)]
        cells.append({"task": task, "text": percent(found), "value": "" if found is None else f"{found.value:.6f}",
                      "bar": bar, "others": ", ".join(f"{c} {percent(row.accuracy.get((task, c)))}"
                                                      for c in ("strict", "omnimed"))})
    return {
        "id": row.id, "rank": row.rank, "name": one_line(row.entry.variant.name, 60),
        "model": one_line(row.entry.runs[0].model, 80), "seeds": len(row.entry.runs), "cells": cells,
        "better": [one_line(b, 40) for b in row.better_than], "warnings": row.warnings,
        "rates": [(name, rate(row, name, scale)) for name, scale in (
            ("parse_rate", 100), ("cap_rate", 100), ("format_rate", 100), ("error_rate", 100), ("tokens_mean", 1))],
        "parts": {place: f"{found.value:.3f}" for place, found in row.parts.items()},
        "cost": "-" if row.cost_usd is None else f"{row.cost_usd:.2f}",
    }


def _charts(board: Board, reference: str | None) -> Iterator[tuple[str, str, Markup]]:
    """(title, note, SVG) of the plots that this board has data for."""
    stages = [row for row in board.rows if row.entry.runs[0].training]
    order = sorted(board.rows, key=_stage) if stages else list(board.rows)
    main = "path" if "path" in board.tasks else board.tasks[0]
    title = "Accuracy by training stage" if stages else "Accuracy"
    first = (main, "in domain (path)" if main == "path" else main)
    for task, heading in (first, ("", "mean of tasks")):
        dots = [(_label(r), i.value, i.low, i.high) for r in order
                if (i := r.accuracy.get((task, "letter"))) is not None]
        if dots and (task or len(board.tasks) > 1):
            yield f"{title}, {heading}", "Percent under the letter contract with 95 % intervals.", whiskers(title, dots)
    yield from _transfer_charts(board, reference)
    for place in _judged(board):
        dots = [(_label(r), i.value, i.low, i.high) for r in order if (i := r.parts.get(place)) is not None]
        yield (f"Reward part {place[1]} by {place[0]}", "Mean in [0, 1], answers that could not be scored left out.",
               whiskers(place[1], dots, scale=1, digits=3, domain=(0, 1)))
    lengths = [(_label(r), v, None, None) for r in order if (v := r.rates.get("tokens_mean")) is not None]
    if lengths:
        yield "Length", "Mean tokens of an answer.", whiskers("Length", lengths, scale=1, domain=(0, 1))
    if board.agreement:
        labels = sorted({label for pair in board.agreement for label in pair})
        yield ("Judge consistency", "Spearman correlation of the judged parts' mean over answers that both scored.",
               matrix("Judge consistency", labels, {k: v for k, (v, _) in board.agreement.items()}))


def _transfer_charts(board: Board, reference: str | None) -> Iterator[tuple[str, str, Markup]]:
    if board.comparison is None or not board.comparison.transfers:
        return
    names = [v.name for v in board.comparison.pairs.variants]
    for task in (*OUT_OF_DOMAIN, OUT_OF_DOMAIN_TASK):
        dots = []
        for t in board.comparison.transfers:
            found = t.mean if task == OUT_OF_DOMAIN_TASK else t.modalities.get(task)
            if found is not None:
                dots.append((names[t.variant], found.value, found.low, found.high))
        if dots:
            name = "mean of four" if task == OUT_OF_DOMAIN_TASK else task
            yield (f"Out of domain against {reference}: {name}", "Difference in points with 95 % paired intervals.",
                   whiskers(f"Against {reference}, {name}", dots, zero=True))


def _pair_matrix(board: Board) -> dict[str, Any] | None:
    if board.comparison is None or len(board.rows) > MATRIX_LIMIT:
        return None
    decisive = MEAN if len(board.tasks) > 1 else board.tasks[0]
    names = [v.name for v in board.comparison.pairs.variants]
    found = {}
    for e in board.comparison.effects:
        if e.task == decisive and not e.by and e.difference is not None:
            d = e.difference
            ends = "" if d.low is None or d.high is None else f"[{100 * d.low:+.1f}, {100 * d.high:+.1f}]"
            back = "" if d.low is None or d.high is None else f"[{-100 * d.high:+.1f}, {-100 * d.low:+.1f}]"
            kind = "" if not e.significant else "up" if d.value > 0 else "down"
            other = {"up": "down", "down": "up"}.get(kind, "")
            found[names[e.a], names[e.b]] = (f"{100 * d.value:+.1f}", ends, kind)
            found[names[e.b], names[e.a]] = (f"{-100 * d.value:+.1f}", back, other)
    order = [(row.id, row.entry.variant.name) for row in board.rows]
    return {"names": [one_line(n, 30) for _, n in order],
            "rows": [(i, one_line(n, 40), [(j, found.get((n, m))) for j, m in order]) for i, n in order]}


def _variant(board: Board, row: Row) -> dict[str, Any]:
    run = row.entry.runs[0]
    training = run.training
    recipe = {name: value for name, value in training.items() if name != "curves"}
    plots = []
    loaded = training.get("curves")
    for name, points in sorted(loaded.items()) if isinstance(loaded, Mapping) else ():
        clean = [(float(p[0]), float(p[1])) for p in points if _is_point(p)] if isinstance(points, list) else []
        if clean:
            plots.append((one_line(str(name), 60), curves(str(name), {str(name): clean})))
    results = [
        {k: one_line(str(r[k]), 80) for k in ("suite", "task", "condition", "contract", "metric", "by", "level")}
        | {"n": f"{r['n_scored']}/{r['n']}", "value": r["value"] or "-", "method": r["ci_method"],
           "ends": f"[{r['ci_low']}, {r['ci_high']}]" if r["ci_low"] else "-"}
        for r in run.results
    ]
    return {
        "board": board.id, "id": row.id, "name": one_line(row.entry.variant.name, 80), "rank": row.rank,
        "model": one_line(run.model, 200), "warnings": row.warnings, "curves": plots, "results": results,
        "recipe": [(one_line(k, 80), one_line(v, 300)) for k, v in flatten(recipe)][:200] if recipe else [],
        "provenance": [[(one_line(k, 120), one_line(v, 300)) for k, v in flatten(r.manifest)][:200]
                       for r in row.entry.runs],
        "controls": sorted((c, t, f"{100 * v:.1f}") for (c, t), v in row.controls.items()),
    }


def _is_point(point: object) -> bool:
    return (isinstance(point, list | tuple) and len(point) == 2
            and all(isinstance(x, int | float) and math.isfinite(x) for x in point))


def _label(row: Row) -> str:
    stage = row.entry.runs[0].training.get("stage")
    return f"{row.entry.variant.name} ({stage})" if stage else row.entry.variant.name


def _stage(row: Row) -> tuple[int, str]:
    """Depth in the family of variants: base first, then children of base, and so on."""
    training = row.entry.runs[0].training
    return int(training.get("order", 0)) if isinstance(training.get("order", 0), int) else 0, row.entry.variant.name
