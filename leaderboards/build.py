"""Build the leaderboard: tables, page and sample browser in one static folder.

    python -m leaderboards.build runs/base runs/r1 --out board --reference base

OUT holds leaderboard.csv, pairs.csv, index.html, samples.html, variants/, leaderboard.md, leaderboard.tex and
model-cards/; it opens from disk. The same runs give the same bytes. Reads result files, nothing else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from rewards.errors import Parser, UserError, run_cli, suggest

if TYPE_CHECKING:
    from leaderboards.boards import Board
    from leaderboards.reading import RunData

MARK = "leaderboard.json"
"""Marks a folder as built here; only such a folder is ever replaced."""
BROWSE = 100_000
PARALLEL_FROM = 6

EPILOG = """\
examples:
  python -m leaderboards.build runs/* --out board
  python -m leaderboards.build base=runs/base r1=runs/r1-s0,runs/r1-s1 --reference base --out board

Runs with other data, prompts, decoding, parser or rewards come on boards of their own and are not ranked against each
other. Open OUT/index.html in a browser. --push-to-hub REPO uploads OUT as a static Space (off unless asked for).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns 0."""
    arguments = parser().parse_args(argv)
    boards = build(arguments.runs, arguments.out, reference=arguments.reference, browse=arguments.browse,
                   resamples=arguments.resamples)
    for board in boards:
        best = ", ".join(row.entry.variant.name for row in board.rows if row.rank == 1)
        print(f"{'+'.join(board.suites)}: {len(board.rows)} variants, {sum(board.n.values())} questions; rank 1: "
              + " ".join(best.split()))
    print(f"leaderboard in {arguments.out / 'index.html'}")
    if arguments.push_to_hub:
        from leaderboards.hub import push

        print(f"pushed to {push(arguments.out, arguments.push_to_hub)}")
    return 0


def parser() -> Parser:
    """The command line of `leaderboards.build`."""
    made = Parser(prog="python -m leaderboards.build", description="Tables and a page from run folders.", epilog=EPILOG)
    made.add_argument("runs", nargs="+", metavar="RUN", help="a run folder, or NAME=RUN[,RUN...] for several seeds")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write (replaced if built here)")
    made.add_argument("--reference", metavar="NAME", help="the variant that out-of-domain transfer is measured against")
    made.add_argument("--browse", type=int, default=BROWSE, metavar="N",
                      help=f"answers that the sample browser holds at most (default: {BROWSE})")
    made.add_argument("--resamples", type=int, default=10_000, metavar="N", help="bootstrap resamples (default: 10000)")
    made.add_argument("--push-to-hub", metavar="REPO", help="upload as a static Space of the Hugging Face hub")
    return made


def build(
    runs: Sequence[str], out: Path, *, reference: str | None = None, browse: int = BROWSE, resamples: int = 10_000
) -> list[Board]:
    """Write the folder, whole or not at all; returns its boards. Raises `UserError`."""
    from bench.pairing import variants_of
    from leaderboards.boards import Entry, make_boards

    if resamples < 100:
        raise UserError(f"--resamples {resamples} is too few for an interval; expected 100 or more")
    if browse < 0:
        raise UserError(f"--browse {browse} is negative; expected 0 or more")
    variants = variants_of(runs)
    names = [v.name for v in variants]
    if reference is not None and reference not in names:
        raise UserError(f"the reference {reference!r} is none of the variants ({', '.join(names)})"
                        f"{suggest(reference, names)}")
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{str(out)!r} exists and is no leaderboard; choose an empty or new folder for --out")
    paths = [run for v in variants for run in v.runs]
    loaded = iter(list(_read(paths, browse)))
    boards = make_boards([Entry(v, tuple(next(loaded) for _ in v.runs)) for v in variants], reference=reference,
                         resamples=resamples)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _write(boards, part, reference)
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return boards


def _write(boards: list[Board], folder: Path, reference: str | None) -> None:
    from bench.runfolder import write_csv
    from leaderboards import tables
    from leaderboards.site import write_site

    columns, rows = tables.leaderboard(boards)
    write_csv(folder / "leaderboard.csv", columns, rows)
    write_csv(folder / "pairs.csv", tables.PAIRS, tables.pairs(boards))
    (folder / "leaderboard.md").write_text(tables.markdown(boards), encoding="utf-8")
    (folder / "leaderboard.tex").write_text(tables.latex(boards), encoding="utf-8")
    (folder / "model-cards").mkdir()
    for board in boards:
        for row in board.rows:
            (folder / "model-cards" / f"{row.id}.md").write_text(tables.model_index(board, row), encoding="utf-8")
    write_site(boards, folder, reference=reference)
    (folder / MARK).write_text(json.dumps({"format": 1, "boards": len(boards)}) + "\n", encoding="utf-8")


def _read(paths: list[str], browse: int) -> Iterator[RunData]:
    """Every run in order; several processes read where there are many."""
    from bench.runfolder import RunFolder
    from leaderboards.reading import read_run

    tasks = max((len(RunFolder(path).manifest.get("data") or {}) for path in paths), default=1) or 1
    read = partial(read_run, keep=browse // (len(paths) * tasks))
    if len(paths) < PARALLEL_FROM:
        yield from map(read, paths)
        return
    # Fresh interpreters: a fork of a process that holds numpy's threads is not safe.
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        yield from pool.map(read, paths)


if __name__ == "__main__":
    run_cli(main)
