"""The sample browser's data: small script files that the page loads on demand, also from `file://`.

    meta = write_chunks(boards, folder)     # data/b0-q-0-0.js, data/b0-v000-0-0.js, data/b0-v000-flags.js ...

A chunk is one call with pure-ASCII JSON in which no `<` occurs. File names are made of numbers only: no task, id or
model name ever becomes part of a path. Thumbnails come from the run folders' `thumbnails/` and are re-encoded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.inert import one_line, script_json
from bench.thumbnail import thumbnail
from leaderboards.boards import Board
from leaderboards.reading import Card
from rewards.errors import ImageProblem

SIZE = 25
"""Answers in a chunk, and on a page of the browser."""


def write_chunks(boards: list[Board], folder: Path) -> dict[str, Any]:
    """Write all chunks and thumbnails below `folder`; returns what the page must know beforehand."""
    data = folder / "data"
    data.mkdir()
    images = folder / "images"
    done: dict[str, bool] = {}
    meta: dict[str, Any] = {"size": SIZE, "boards": []}
    for board in boards:
        tasks = []
        for number, task in enumerate(board.tasks):
            first = [c for c in board.rows[0].entry.runs[0].cards if c.key.task == task]
            tasks.append({"name": one_line(task, 60), "kept": len(first), "total": board.n[task]})
            for page in range(0, len(first), SIZE):
                part = first[page : page + SIZE]
                texts = [
                    f"[{card.question},{script_json(_image(card, board, images, done))}]" for card in part
                ]
                _write(data / f"{board.id}-q-{number}-{page // SIZE}.js",
                       f"q/{board.id}/{number}/{page // SIZE}", f"[{','.join(texts)}]")
        for row in board.rows:
            cards: dict[str, list[Card]] = {task: [] for task in board.tasks}
            for card in row.entry.runs[0].cards:
                cards[card.key.task].append(card)
            flags = [bytes(c.flags for c in cards[task]).hex() for task in board.tasks]
            _write(data / f"{board.id}-{row.id}-flags.js", f"f/{board.id}/{row.id}", script_json(flags))
            for number, task in enumerate(board.tasks):
                for page in range(0, len(cards[task]), SIZE):
                    texts = [card.answer for card in cards[task][page : page + SIZE]]
                    _write(data / f"{board.id}-{row.id}-{number}-{page // SIZE}.js",
                           f"a/{board.id}/{row.id}/{number}/{page // SIZE}", f"[{','.join(texts)}]")
        meta["boards"].append({
            "id": board.id, "name": one_line("+".join(board.suites), 80), "tasks": tasks,
            "variants": [{"id": row.id, "name": one_line(row.entry.variant.name, 80)} for row in board.rows],
        })
    return meta


def _write(path: Path, key: str, payload: str) -> None:
    path.write_text(f'PVB("{key}",{payload});\n', encoding="ascii")


def _image(card: Card, board: Board, images: Path, done: dict[str, bool]) -> str:
    """The thumbnail's file name, "" where no run folder has one that is an image."""
    if not card.image:
        return ""
    if card.image not in done:
        done[card.image] = False
        for row in board.rows:
            for run in row.entry.runs:
                source = Path(run.path) / "thumbnails" / f"{card.image}.jpg"
                if not done[card.image] and source.is_file():
                    try:
                        small = thumbnail(source.read_bytes())
                    except ImageProblem:
                        continue
                    images.mkdir(exist_ok=True)
                    (images / f"{card.image}.jpg").write_bytes(small)
                    done[card.image] = True
    return f"{card.image}.jpg" if done[card.image] else ""
