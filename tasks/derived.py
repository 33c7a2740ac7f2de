r"""The authors' derived rows: `{"image", "problem", "solution"}` in JSON or JSON Lines, images beside the file.

>>> read(Path("splits"), "path", split="rl").samples[0].answer          # doctest: +SKIP
'B) Adenocarcinoma'

`problem` is "question\nOptions:\nA) ...\nB) ..."; `solution` is "<think>..</think><answer>D) ..</answer>", or the bare
answer. An image is looked for beside the file, then in its `images/` folder. Rows written by `tasks.splits` carry more
fields (id, task, subset, question_type), which are honoured; a row of another task is passed over.
Must not import torch or lm_eval.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rewards.errors import UserError, suggest
from rewards.parse import parse
from rewards.types import Parsed, Sample
from tasks.collect import Collector, text
from tasks.files import read_json, read_text, shown
from tasks.images import FileImage
from tasks.loaded import Loaded, Reason, RowError
from tasks.options import find_answer, read_options, squash

SUITE = "derived"
FIELDS = ("image", "problem", "solution")
_ORIGINAL = ("pathmmu", "omnimedvqa", "QA_information", "data.json")
_OPTIONS = re.compile(r"\n\s*options\s*:[ \t]*\n?", re.IGNORECASE)
_LABELLED = re.compile(r"\s*[(\[]?[A-Ja-j][)\].:]")
_BLOCK = re.compile(r"</?(think|answer)", re.IGNORECASE)
_IMAGE_TAG = re.compile(r"^\s*<image>\s*")


def is_derived(folder: Path) -> bool:
    """Whether a folder holds derived rows rather than an original layout."""
    return not any((folder / name).exists() for name in _ORIGINAL) and bool(_files(folder))


def read(source: Path, task: str, split: str | None = None, limit: int | None = None) -> Loaded:
    """Samples from a file of derived rows, or from the file of one split in a folder (default: test).

    Raises: UserError.
    """
    path = source if source.is_file() else _choose(source, split)
    rows = Collector(task, SUITE, path.parent, limit)
    for number, row in _rows(path):
        if rows.full:
            break
        if isinstance(row, dict) and row.get("task", task) != task:
            continue
        row_id = (text(row, "id") if isinstance(row, dict) else "") or f"{path.stem}-{number}"
        rows.add(row_id, _reader(rows, row_id, task, split or path.stem), row)
    return rows.finish()


def problem_text(question: str, options: tuple[str, ...]) -> str:
    r"""A question as the derived rows write it: "question\nOptions:\nA) ...".

    >>> problem_text("Which?", ("one", "two"))
    'Which?\nOptions:\nA) one\nB) two'
    """
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip("ABCDEFGHIJ", options, strict=False))
    return f"{question}\nOptions:\n{listed}"


def solution_text(answer: str, reasoning: str | None) -> str:
    """The model text of a derived row; without reasoning the answer stands bare.

    >>> solution_text("B) two", None)
    'B) two'
    """
    if not reasoning or _BLOCK.search(reasoning):  # a tag inside the reasoning would be read as a block
        return answer
    return f"<think>{reasoning}</think><answer>{answer}</answer>"


def _reader(rows: Collector, row_id: str, task: str, split: str) -> Callable[[Mapping[str, object]], Sample]:
    def sample(row: Mapping[str, object]) -> Sample:
        question, options, labels = _problem(row)
        solution = text(row, "solution")
        found = parse(solution, options)
        index = find_answer(solution if found.answer is None else found.answer, options, labels)
        image = _image(rows, row.get("image"))
        return Sample(suite=SUITE, task=task, id=row_id, group=image.sha256, question=question,
                      options=options, answer_index=index, question_type=text(row, "question_type") or "unspecified",
                      image=image, subset=text(row, "subset"), split=split,
                      reference=_reasoning(solution, found).strip() or None)
    return sample


def _reasoning(solution: str, found: Parsed) -> str:
    """The reasoning as written: the parser's is normalised, which would make "10⁹" the training text "109"."""
    if found.well_formed:
        return solution.partition("<think>")[2].partition("</think>")[0]
    return found.think or ""


def _problem(row: Mapping[str, object]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    problem = _IMAGE_TAG.sub("", text(row, "problem"))
    marks = list(_OPTIONS.finditer(problem))
    if not problem:
        raise RowError(Reason.NO_QUESTION)
    if not marks:
        raise RowError(Reason.NO_OPTIONS, "the problem has no line 'Options:'")
    listed: list[str] = []
    for line in problem[marks[-1].end():].splitlines():
        if _LABELLED.match(line) or not listed:
            listed.append(line)
        else:
            listed[-1] += " " + line
    options, labels = read_options([squash(line) for line in listed if line.strip()])
    question = problem[: marks[-1].start()].strip()
    if not question:
        raise RowError(Reason.NO_QUESTION)
    return question, options, labels


def _image(rows: Collector, name: object) -> FileImage:
    if isinstance(name, list) and len(name) == 1:
        name = name[0]
    beside = isinstance(name, str) and (rows.root / name).exists()
    return rows.image(name, "" if beside else "images")


def _files(folder: Path) -> dict[str, Path]:
    """Split name to file; JSON Lines win over JSON of the same name."""
    found = {p.stem: p for p in sorted(folder.glob("*.json")) if p.name != "manifest.json"}
    return found | {p.stem: p for p in sorted(folder.glob("*.jsonl"))}


def _choose(folder: Path, split: str | None) -> Path:
    files = _files(folder)
    wanted = split or ("test" if "test" in files or len(files) != 1 else next(iter(files)))
    if wanted not in files:
        raise UserError(f"no split {wanted!r}{suggest(wanted, files)} in {folder}: looked for {wanted}.jsonl and "
                        f"{wanted}.json; there are {', '.join(files) or 'no files of rows'}")
    return files[wanted]


def _rows(path: Path) -> Iterator[tuple[int, object]]:
    """Numbered rows of a JSON list or of JSON Lines; a broken line is a row that will be counted as malformed."""
    if path.suffix == ".json":
        items = read_json(path, "the file of derived rows")
        if not isinstance(items, list):
            raise UserError(f"a file of derived rows must be a list of objects with {', '.join(FIELDS)}, but is "
                            f"{shown(items)}: {path}")
        yield from enumerate(items, 1)
        return
    for number, line in enumerate(read_text(path, "the file of derived rows").splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                yield number, line
