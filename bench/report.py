"""report.html: one run on one self-contained page, with the worst and the disputed answers to look at.

    write_report("runs/base/report.html", rows=results, samples=read_jsonl(path), manifest=manifest, image=lookup)

The page holds no script, asks for nothing outside itself (Content-Security-Policy: no source but its own style and
data images), escapes every text and shows control and direction characters instead of obeying them. Its size is
bounded by `SHOWN` answers a section, `TEXT_LIMIT` characters a text and small thumbnails, whatever the run's size.
`print_table` is the same summary on a terminal. Must not import torch, transformers or lm_eval.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.aggregate import warnings
from bench.inert import one_line, visible
from bench.table import by_task, plain, print_table, share
from bench.thumbnail import data_uri, thumbnail
from rewards.errors import ImageProblem
from rewards.types import CONTRACTS, LETTERS

__all__ = ["print_table", "render_report", "write_report"]

SHOWN = 24
TEXT_LIMIT = 6_000
HIGH_REWARD = 0.75
"""A wrong answer whose mean judged part reaches this is disputed: the judge liked what the key calls wrong."""

Row = Mapping[str, Any]
ImageOf = Callable[[Row], bytes | None]


def write_report(
    path: str | Path,
    *,
    rows: Iterable[Row],
    samples: Iterable[Row],
    manifest: Row,
    image: ImageOf | None = None,
    scores: Iterable[Row] = (),
) -> None:
    """Write the page; whole or not at all. `image` gives the encoded bytes of a row's image, None where it has none."""
    text = render_report(rows=rows, samples=samples, manifest=manifest, image=image, scores=scores)
    target = Path(path)
    part = target.with_name(target.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(target)


def render_report(
    *,
    rows: Iterable[Row],
    samples: Iterable[Row],
    manifest: Row,
    image: ImageOf | None = None,
    scores: Iterable[Row] = (),
) -> str:
    """The page as text; the same text for the same inputs, whatever the order of `samples`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = list(rows)
    rewards = _rewards(scores)
    worst, disputed = pick(samples, rewards)
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
        # Every printed text passes here before it is escaped, so none can be forgotten in the template.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    style = (Path(__file__).parent / "report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return env.get_template("report.html.j2").render(
        style=style,
        style_hash=f"sha256-{digest}",
        model=one_line(str(found[0]["model"]) if found else "no results", 120),
        summary=list(_summary(found)),
        conditions=any(row["condition"] != "plain" for row in found),
        breakdown=list(_breakdown(found)),
        parts=list(_parts(found)),
        warnings=list(dict.fromkeys(warnings(found) + [one_line(str(w), 500) for w in manifest.get("warnings") or ()])),
        provenance=[(one_line(k, 120), one_line(v, 300)) for k, v in flatten(manifest)][:200],
        sections=[
            ("worst", "Worst answers", "Without an answer, cut off, unreadable, or plainly wrong, a few of every task.",
             [_card(r, rewards, image) for r in worst]),
            ("disputed", "Disputed answers", "The contracts disagree about them, or the reward and the answer key do.",
             [_card(r, rewards, image) for r in disputed]),
        ],
    )


def pick(
    samples: Iterable[Row], rewards: Mapping[tuple[str, str, str], Row] | None = None
) -> tuple[list[Row], list[Row]]:
    """At most `SHOWN` worst and `SHOWN` disputed answers, in turn from every task, whatever the order of `samples`."""
    pools: dict[bool, dict[str, list[tuple[int, int, str, Row]]]] = {True: defaultdict(list), False: defaultdict(list)}
    for row in samples:
        rank = _disputed(row, (rewards or {}).get(_key(row)))
        is_disputed = rank is not None
        if rank is None:
            rank = _bad(row)
        if rank is None:
            continue
        pool = pools[is_disputed][str(row["task"])]
        # The checksum spreads the choice over the whole task; the id settles ties.
        pool.append((rank, zlib.crc32(str(row["id"]).encode("utf-8", "replace")), str(row["id"]), row))
        if len(pool) > 8 * SHOWN:
            pool.sort(key=lambda entry: entry[:3])
            del pool[SHOWN:]
    return _in_turn(pools[False]), _in_turn(pools[True])


def flatten(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as dotted names and JSON values, sorted."""
    if isinstance(value, Mapping) and value:
        for key in sorted(value, key=str):
            yield from flatten(value[key], f"{name}.{key}" if name else str(key))
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _in_turn(pools: Mapping[str, list[tuple[int, int, str, Row]]]) -> list[Row]:
    queues = [[e[3] for e in sorted(pools[t], key=lambda e: e[:3])][:SHOWN] for t in sorted(pools)]
    turns = (queue[i] for i in range(SHOWN) for queue in queues if i < len(queue))
    return [row for row, _ in zip(turns, range(SHOWN), strict=False)]


def _bad(row: Row) -> int | None:
    if row["finish_reason"] == "error":
        return 0
    if row["correct"]["letter"]:
        return None
    if row["finish_reason"] == "length":
        return 1
    return 2 if row["parsed"]["letters"]["letter"] is None else 3


def _disputed(row: Row, score: Row | None) -> int | None:
    if row["finish_reason"] == "error":
        return None
    if len(set(row["correct"].values())) > 1:
        return 0
    # Format and accuracy say nothing that the contracts do not: only the judged parts can disagree with the key.
    values = [s["value"] for s in (score or {}).get("scores") or ()
              if s.get("value") is not None and s["part"] not in ("format", "accuracy")]
    mean = sum(values) / len(values) if values else None
    if mean is None:
        return None
    right = row["correct"]["letter"]
    return 1 if (not right and mean >= HIGH_REWARD) or (right and mean < 1 - HIGH_REWARD) else None


def _key(row: Row) -> tuple[str, str, str]:
    return str(row["task"]), str(row.get("condition") or "plain"), str(row["id"])


def _rewards(scores: Iterable[Row]) -> dict[tuple[str, str, str], Row]:
    """Scores by answer; those of several judges stand one after another, each naming its judge."""
    found: dict[tuple[str, str, str], Row] = {}
    for row in scores:
        judge = row.get("judge")
        name = str(judge.get("model") or judge.get("backend") or "") if isinstance(judge, Mapping) else str(judge or "")
        before = list(found.get(_key(row), {}).get("scores", ()))
        own = [{**s, "reason": f"{name}: {s.get('reason') or s.get('failure') or ''}"} for s in row.get("scores") or ()]
        found[_key(row)] = {"scores": before + own}
    return found


def _card(row: Row, rewards: Mapping[tuple[str, str, str], Row], image: ImageOf | None) -> dict[str, Any]:
    parsed = row.get("parsed") or {}
    letters, correct = parsed.get("letters") or {}, row.get("correct") or {}
    picture, trouble = None, "no image stored with this run"
    if image is not None:
        try:
            data = image(row)
            picture = data_uri(thumbnail(data)) if data is not None else None
        except ImageProblem as problem:
            trouble = one_line(str(problem), 200)
    chosen = letters.get("letter")
    score = rewards.get(_key(row))
    return {
        "title": one_line(f"{row['task']} · {row['id']}", 160),
        "labels": [one_line(str(row[k]), 60) for k in ("condition", "question_type", "subset") if row.get(k)],
        "verdict": "no answer" if row["finish_reason"] == "error" else "right" if correct.get("letter") else "wrong",
        "finish": row["finish_reason"], "error": clip(str(row.get("error") or ""), 400),
        "picture": picture, "trouble": trouble,
        "question": clip(str(row["question"]), 2000),
        "options": [
            {"letter": LETTERS[i], "text": clip(str(text), 600), "key": i == row["answer_index"],
             "chosen": LETTERS[i] == chosen} for i, text in enumerate(row["options"])
        ],
        "contracts": [(c, letters.get(c), correct.get(c)) for c in CONTRACTS],
        "problem": one_line(str(parsed.get("problem") or ""), 300),
        "think": None if parsed.get("think") is None else clip(str(parsed["think"])),
        "completion": clip(str(row.get("completion") or "")),
        "scores": [
            {"part": one_line(str(s["part"]), 60), "value": s.get("value"),
             "why": one_line(str(s.get("reason") or s.get("failure") or ""), 500)}
            for s in (score or {}).get("scores") or ()
        ],
    }


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text of bounded length: the beginning and the end, and how much is left out between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters not shown …]\n{text[-half:]}"


def _summary(rows: list[Row]) -> Iterator[dict[str, Any]]:
    for _, suite, task, condition, cell in by_task(rows):
        scored, n = cell["n"]
        best = cell.get(("accuracy", "letter"))
        bar = None
        if best is not None and best["value"] not in (None, "") and best["ci_low"] not in (None, ""):
            bar = {name: round(200 * float(best[name]), 1) for name in ("value", "ci_low", "ci_high")}
        yield {
            "task": f"{suite}/{task}", "condition": condition, "n": n if scored == n else f"{scored}/{n}", "bar": bar,
            "accuracy": [share(cell.get(("accuracy", c))) for c in ("letter", "strict", "omnimed")],
            "rates": [plain(cell.get(k), 100) for k in (
                ("parse_rate", "letter"), ("cap_rate", ""), ("format_rate", ""), ("error_rate", ""))],
            "tokens": plain(cell.get(("tokens_mean", "")), 1),
            "method": best["ci_method"] if best is not None else "",
        }


def _breakdown(rows: list[Row]) -> Iterator[dict[str, Any]]:
    cells: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if row.get("by") and row["metric"] == "accuracy" and row["contract"] == "letter":
            key = tuple(str(row[k]) for k in ("suite", "task", "condition", "by", "level"))
            if key not in cells or row["ci_low"] not in (None, ""):
                cells[key] = row
    for (suite, task, condition, by, level), row in sorted(cells.items()):
        yield {"task": f"{suite}/{task}", "condition": condition, "by": by.replace("_", " "),
               "level": one_line(level, 80), "n": f"{row['n_scored']}/{row['n']}", "accuracy": share(row)}


def _parts(rows: list[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if not row.get("by") and str(row["metric"]).startswith("reward."):
            name = str(row["metric"]).removeprefix("reward.")
            text = "-" if row["value"] in (None, "") else f"{float(row['value']):.3f}"
            if row["ci_low"] not in (None, "") and text != "-":
                text += f" [{float(row['ci_low']):.3f}, {float(row['ci_high']):.3f}]"
            yield {"task": f"{row['suite']}/{row['task']}", "condition": row["condition"], "part": one_line(name, 60),
                   "n": f"{row['n_scored']}/{row['n']}", "value": text,
                   "fingerprint": one_line(str(row["fingerprint"]), 20)}
