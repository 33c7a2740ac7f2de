"""PathMMU in its original layout: `pathmmu/data.json` and `pathmmu/images/`.

>>> read(Path("data"), split="test").samples[0].subset                 # doctest: +SKIP
'PubMed'

`data.json` is `{subset: {split: [rows]}}` with subsets PubMed, SocialPath, EduContent, Atlas, PathCLS and splits val,
test, test_tiny; a row has `No, img, question, options, answer, explanation`. Quirks honoured: an answer may be a bare
letter, a question has three to five options, several questions share an image, some subsets lack a split.
Source: PathMMU (Sun et al. 2024). Must not import torch or lm_eval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rewards.errors import UserError, suggest
from rewards.types import Sample
from tasks.collect import Collector, question, text
from tasks.files import read_json, shown
from tasks.loaded import Loaded
from tasks.options import find_answer, read_options, squash
from tasks.registry import task

SUITE = "pathmmu"
DEFAULT_SPLIT = "test"
UNTYPED = "unspecified"
"""PathMMU names no question type."""


@task("path", "PathMMU")
def read(source: Path, task: str = "path", split: str | None = None, limit: int | None = None) -> Loaded:
    """The questions of a data folder that holds `pathmmu/`.

    `split` is val, test (default), test_tiny, several with commas, or all; a question that stands in two counts once.
    Raises: UserError.
    """
    table = _table(source)
    known = sorted({name for parts in table.values() for name in parts})
    wanted = [part.strip() for part in (split or DEFAULT_SPLIT).split(",")]
    for part in wanted:
        if part not in ("all", *known):
            raise UserError(f"PathMMU has no split {part!r}{suggest(part, [*known, 'all'])}; "
                            f"this copy has {', '.join(known) or 'none'}, or say all")
    rows = Collector(task, SUITE, source, limit)
    for subset, parts in table.items():
        for part, items in parts.items():
            if "all" not in wanted and part not in wanted:
                continue
            for position, row in enumerate(items):
                if rows.full:
                    return rows.finish()
                number = row.get("No") if isinstance(row, dict) else None
                row_id = f"{subset}-{part}-{squash(str(number)) if isinstance(number, int | str) else f'row{position}'}"
                rows.add(row_id, _reader(rows, row_id, subset, part), row)
    return rows.finish()


def _reader(rows: Collector, row_id: str, subset: str, split: str) -> Callable[[Mapping[str, object]], Sample]:
    def sample(row: Mapping[str, object]) -> Sample:
        asked = question(row)
        options, labels = read_options(row.get("options"))
        index = find_answer(row.get("answer"), options, labels)
        image = rows.image(row.get("img"), "pathmmu/images")
        return Sample(suite=SUITE, task=rows.task, id=row_id, group=image.sha256, question=asked, options=options,
                      answer_index=index, question_type=UNTYPED, image=image, subset=subset, split=split,
                      reference=text(row, "explanation") or None)
    return sample


def _table(source: Path) -> dict[str, dict[str, list[object]]]:
    """data.json, its shape checked."""
    path = source / "pathmmu" / "data.json"
    if not path.exists():
        here = " (data.json lies in the given folder itself: give its parent, this folder named pathmmu)" \
            if (source / "data.json").exists() else ""
        raise UserError(f"task path needs PathMMU's data.json: looked for {path}{here}; --data must be a folder that "
                        "holds pathmmu/data.json and pathmmu/images/")
    table = read_json(path, "PathMMU's data.json")
    if not isinstance(table, dict) or not table:
        raise UserError(f"PathMMU's data.json must be an object of subsets, each with splits, but is {shown(table)}: "
                        f"{path}")
    for subset, parts in table.items():
        if not isinstance(parts, dict):
            raise UserError(f"PathMMU's data.json must hold an object of splits under {subset!r}, but has "
                            f"{shown(parts)}: {path}")
        for part, items in parts.items():
            if not isinstance(items, list):
                raise UserError(f"PathMMU's data.json must hold a list of questions under {subset!r}, {part!r}, but "
                                f"has {shown(items)}: {path}")
    return table
