"""OmniMedVQA in its original layout: `omnimedvqa/QA_information/Open-access/<Set>.json` and `omnimedvqa/Images/`.

>>> read(Path("data"), "ct").samples[0].question_type                  # doctest: +SKIP
'Anatomy Identification'

Four sets are the out-of-domain tasks of the paper: ct, derm, oct, fundus. Quirks honoured: yes/no rows lack option_C
and option_D, `gt_answer` is option text that may end in a full stop, Chest CT Scan says `modality` where the others
say `modality_type`. Image paths contain the label, so nothing of a path is kept in a sample's text.
Source: OmniMedVQA (Hu et al. 2024). Must not import torch or lm_eval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rewards.errors import UserError
from rewards.types import LETTERS, Sample
from tasks import registry
from tasks.collect import Collector, question, text
from tasks.files import read_json, shown
from tasks.loaded import Loaded, Reason, RowError
from tasks.options import check_options, find_answer, squash

SUITE = "omnimedvqa"
SETS = {"ct": "Chest CT Scan", "derm": "ISIC2020", "oct": "Retinal OCT-C8", "fundus": "Diabetic Retinopathy"}
"""Task name to the set's name, which is also its file name."""


def read(source: Path, task: str, split: str | None = None, limit: int | None = None) -> Loaded:
    """One of ct, derm, oct, fundus from a data folder that holds `omnimedvqa/`. Its only split is test (= all).

    Raises: UserError.
    """
    if split not in (None, "test", "all"):
        raise UserError(f"task {task} has no split {split!r}: OmniMedVQA has one split, test")
    items = _items(source, task)
    rows = Collector(task, SUITE, source, limit)
    for position, row in enumerate(items):
        if rows.full:
            break
        named = text(row, "question_id") if isinstance(row, dict) else ""
        row_id = named or f"{task}-row{position}"
        rows.add(row_id, _reader(rows, row_id, task), row)
    return rows.finish()


for _name, _title in SETS.items():
    registry.task(_name, _title)(read)


def _reader(rows: Collector, row_id: str, task: str) -> Callable[[Mapping[str, object]], Sample]:
    def sample(row: Mapping[str, object]) -> Sample:
        asked = question(row)
        options = _options(row)
        index = find_answer(row.get("gt_answer"), options, LETTERS[: len(options)])
        image = rows.image(row.get("image_path"), "omnimedvqa")
        return Sample(suite=SUITE, task=task, id=row_id, group=image.sha256, question=asked, options=options,
                      answer_index=index, question_type=text(row, "question_type") or "unspecified", image=image,
                      subset=SETS[task], split="test")
    return sample


def _options(row: Mapping[str, object]) -> tuple[str, ...]:
    """option_A, option_B, ... up to the first that is absent, null or empty. Raises: RowError."""
    values = [row.get(f"option_{letter}") for letter in LETTERS]
    texts = [squash(value) if isinstance(value, str) else "" for value in values]
    if not any(texts):
        raise RowError(Reason.NO_OPTIONS)
    last = max(i for i, found in enumerate(texts) if found)
    check_options(texts[: last + 1])
    return tuple(texts[: last + 1])


def _items(source: Path, task: str) -> list[object]:
    name = SETS[task]
    folder = source / "omnimedvqa" / "QA_information" / "Open-access"
    path = folder / f"{name}.json"
    if not path.exists():
        here = ""
        if (source / "QA_information").exists():
            here = " (QA_information lies in the given folder itself: give its parent, this folder named omnimedvqa)"
        elif folder.is_dir():
            here = f" (found there: {', '.join(sorted(p.name for p in folder.glob('*.json'))) or 'no set'})"
        raise UserError(f"task {task} needs OmniMedVQA's {name}.json: looked for {path}{here}; add the file and its "
                        f"images, or leave {task} out of --tasks")
    items = read_json(path, f"OmniMedVQA's {name}.json")
    if not isinstance(items, list):
        raise UserError(f"OmniMedVQA's {name}.json must be a list of questions, but is {shown(items)}: {path}")
    return items
