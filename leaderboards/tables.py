"""leaderboard.csv, pairs.csv, and the ranking as Markdown, LaTeX and Hugging Face model-index blocks.

    columns, rows = leaderboard(boards)
    markdown(boards)

Missing is an empty cell. Every text cell is made inert for the format it goes into.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bench.aggregate import OUT_OF_DOMAIN_TASK
from bench.inert import latex_cell, markdown_cell, one_line
from bench.stats import Interval
from leaderboards.boards import Board, Row

FIXED = ("board", "suite", "rank", "variant", "id", "model", "runs", "n", "better_than")
LAST = ("cost_usd", "warnings", "model_fingerprint", "reward_fingerprints", "data_sha256", "prompts", "parser",
        "decoding", "code_version", "commit")
PAIRS = ("board", "suite", "task", "contract", "a", "b", "n", "n_paired", "accuracy_a", "accuracy_b", "difference",
         "low", "high", "ci_method", "gained", "lost", "p", "p_holm", "significant", "detectable")
TASK_NAMES = {"": "mean", OUT_OF_DOMAIN_TASK: "out_of_domain"}


def leaderboard(boards: Iterable[Board]) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and one row a variant, in the order of boards and ranks."""
    rows = [dict(_cells(board, row)) for board in boards for row in board.rows]
    middle = sorted({name for row in rows for name in row} - {*FIXED, *LAST}, key=_column_order)
    return [*FIXED, *middle, *LAST], rows


def _cells(board: Board, row: Row) -> Iterator[tuple[str, Any]]:
    run = row.entry.runs[0]
    versions = run.manifest.get("versions") or {}
    yield from zip(FIXED, (board.id, "+".join(board.suites), row.rank, row.entry.variant.name, row.id, run.model,
                           len(row.entry.runs), sum(board.n.values()), "; ".join(row.better_than)), strict=True)
    for (task, contract), found in row.accuracy.items():
        name = f"accuracy.{TASK_NAMES.get(task, task)}.{contract}"
        yield name, found.value
        yield f"{name}.low", found.low
        yield f"{name}.high", found.high
        yield f"{name}.method", found.method
    yield from row.rates.items()
    for (judge, part), found in row.parts.items():
        yield f"reward.{part} [{judge}]", found.value
        yield f"reward.{part} [{judge}].n", f"{found.n}/{found.n_groups}" if found.n_groups else found.n
    for (condition, task), value in row.controls.items():
        yield f"control.{condition}.{TASK_NAMES.get(task, task)}", value
    data = run.manifest.get("data") or {}
    config = run.manifest.get("config") or {}
    model = run.manifest.get("model")
    yield from zip(LAST, (
        row.cost_usd, "; ".join(row.warnings), model.get("fingerprint") if isinstance(model, dict) else None,
        "; ".join(board.key["rewards"]),
        "; ".join(f"{t}:{str(d.get('data_sha256'))[:16]}" for t, d in sorted(data.items())),
        _json(run.manifest.get("prompts")), _json(run.manifest.get("parser")), _json(config.get("decoding")),
        versions.get("pathvlm-bench"), versions.get("commit")), strict=True)


def _column_order(name: str) -> tuple[int, str]:
    kinds = ("accuracy.mean.", "accuracy.out_of_domain.", "accuracy.", "parse_rate", "cap_rate", "format_rate",
             "error_rate", "tokens_mean", "reward.", "control.")
    return next((i for i, kind in enumerate(kinds) if name.startswith(kind)), len(kinds)), name


def pairs(boards: Iterable[Board]) -> Iterator[dict[str, Any]]:
    """One row for every pair and task (and the mean of tasks), differences in shares of 1."""
    for board in boards:
        if board.comparison is None:
            continue
        names = [v.name for v in board.comparison.pairs.variants]
        for e in board.comparison.effects:
            found = e.difference
            yield dict(zip(PAIRS, (
                board.id, e.suite, e.task, board.comparison.contract, names[e.a], names[e.b], e.n, e.n_paired,
                e.accuracy_a, e.accuracy_b, *((None,) * 4 if found is None else (
                    found.value, found.low, found.high, found.method)),
                e.test and e.test.gained, e.test and e.test.lost, e.p, e.p_holm, e.significant, e.detectable,
            ), strict=True))


def shown_tasks(board: Board) -> list[tuple[str, str]]:
    """(task, heading) of the accuracy columns that people read: the mean, out of domain, then each task."""
    tasks = [("", "mean")] if len(board.tasks) > 1 else []
    if any((OUT_OF_DOMAIN_TASK, "letter") in row.accuracy for row in board.rows):
        tasks.append((OUT_OF_DOMAIN_TASK, "out of domain"))
    return [*tasks, *((t, t) for t in board.tasks)]


def percent(found: Interval | None) -> str:
    """"62.1 [58.0, 66.0]", "-" where missing."""
    if found is None:
        return "-"
    text = f"{100 * found.value:.1f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _grid(board: Board) -> tuple[list[str], list[list[str]]]:
    tasks = shown_tasks(board)
    head = ["rank", "variant", *(name for _, name in tasks), "cut off %", "format %", "tokens"]
    lines = [
        [str(row.rank), row.entry.variant.name, *(percent(row.accuracy.get((t, "letter"))) for t, _ in tasks),
         rate(row, "cap_rate", 100), rate(row, "format_rate", 100), rate(row, "tokens_mean", 1)]
        for row in board.rows
    ]
    return head, lines


def rate(row: Row, name: str, scale: float) -> str:
    """A pooled rate with one decimal, "-" where missing."""
    value = row.rates.get(name)
    return "-" if value is None else f"{scale * value:.1f}"


CAPTION = "accuracy in % (letter contract), 95 % interval resampled by image; a rank is shared without a difference"


def markdown(boards: Sequence[Board]) -> str:
    """A Markdown table for each board."""
    found = []
    for board in boards:
        head, lines = _grid(board)
        found += [f"**{markdown_cell('+'.join(board.suites))}** ({sum(board.n.values())} questions): {CAPTION}", ""]
        found.append("| " + " | ".join(markdown_cell(h) for h in head) + " |")
        found.append("|" + "|".join(" --- " if h == "variant" else " ---: " for h in head) + "|")
        found += ["| " + " | ".join([line[0], markdown_cell(line[1], 80), *line[2:]]) + " |" for line in lines]
        found.append("")
    return "\n".join(found)


def latex(boards: Sequence[Board]) -> str:
    """A LaTeX tabular (booktabs) for each board."""
    found = []
    for board in boards:
        head, lines = _grid(board)
        found.append(f"% {latex_cell('+'.join(board.suites))}: {latex_cell(CAPTION)}")
        found.append("\\begin{tabular}{rl" + "r" * (len(head) - 2) + "}\n\\toprule")
        found.append(" & ".join(latex_cell(h) for h in head) + " \\\\\n\\midrule")
        found += [" & ".join(latex_cell(c, 80) for c in line) + " \\\\" for line in lines]
        found.append("\\bottomrule\n\\end{tabular}\n")
    return "\n".join(found)


def model_index(board: Board, row: Row) -> str:
    """The model card's YAML with its `model-index` block, as the Hugging Face hub reads it."""
    from huggingface_hub import EvalResult, ModelCardData

    results = []
    for (task, contract), found in sorted(row.accuracy.items()):
        if task in TASK_NAMES:
            continue
        suite = one_line("+".join(board.suites), 80)
        results.append(EvalResult(
            task_type="visual-question-answering", dataset_type=f"pathvlm-bench/{suite}",
            dataset_name=f"{suite} {task}", dataset_config=task, metric_type="accuracy",
            metric_value=round(found.value, 6), metric_name=f"accuracy ({contract} contract)", metric_config=contract,
            metric_args={"ci_low": _rounded(found.low), "ci_high": _rounded(found.high), "ci_method": found.method,
                         "n": found.n},
        ))
    card = ModelCardData(model_name=one_line(row.entry.variant.name, 90), eval_results=results)
    return f"---\n{card.to_yaml()}\n---\n"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, sort_keys=True)


