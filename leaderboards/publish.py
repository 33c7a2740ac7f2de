"""The published leaderboard of the phantom suite: rebuilt, and checked, from the run files stored beside it.

    python -m leaderboards.publish --add base=runs/base --add r1=runs/r1      keep these runs, then build
    python -m leaderboards.publish                                           build again from the kept runs
    python -m leaderboards.publish --check                                   say whether the stored pages are that build

`published/runs/` holds the result files as bench.run wrote them, `published/board/` what leaderboards.build makes of
them. Only runs of the phantom suite are accepted: real suites may not be passed on.
"""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rewards.errors import Parser, UserError, run_cli

PUBLISHED = Path(__file__).parent / "published"
FILES = ("manifest.json", "samples.jsonl", "scores.jsonl", "results.csv", "variant.json")
REFERENCE = "untrained"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; 1 where --check finds a difference."""
    made = Parser(prog="python -m leaderboards.publish", description="The published phantom board.", epilog=__doc__)
    made.add_argument("--add", action="append", default=[], metavar="NAME=RUN", help="keep this run (replaces NAME)")
    made.add_argument("--check", action="store_true", help="compare with a fresh build, change nothing")
    made.add_argument("--folder", type=Path, default=PUBLISHED, help="default: leaderboards/published")
    arguments = made.parse_args(argv)
    if arguments.check:
        found = differences(arguments.folder)
        for line in found:
            print(line)
        print("the published leaderboard is its build" if not found else f"{len(found)} files differ from the build")
        return 1 if found else 0
    for item in arguments.add:
        keep(item, arguments.folder)
    rebuild(arguments.folder, arguments.folder / "board")
    print(f"published in {arguments.folder / 'board' / 'index.html'}")
    return 0


def keep(item: str, folder: Path) -> None:
    """Copy a run's files into `folder`/runs/NAME. Raises `UserError` for a run that may not be published."""
    from bench.pairing import variants_of
    from bench.runfolder import RunFolder

    variant = variants_of([item])[0]
    run = RunFolder(variant.runs[0])
    suites = sorted({str(d.get("suite")) for d in (run.manifest.get("data") or {}).values()})
    if suites != ["phantom"]:
        raise UserError(f"{str(run.path)!r} is a run on {', '.join(suites) or 'no suite'}; "
                        "only phantom runs are published")
    if len(variant.runs) > 1 or not variant.name.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"{item!r} cannot be kept; expected NAME=RUN with one run and a name of letters and digits")
    target = folder / "runs" / variant.name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in FILES:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, target / name)
    if (run.path / "thumbnails").is_dir():
        shutil.copytree(run.path / "thumbnails", target / "thumbnails")


def runs(folder: Path) -> list[str]:
    """The kept runs, in the order of their names; empty where nothing is published yet."""
    return sorted(str(p) for p in (folder / "runs").iterdir() if p.is_dir()) if (folder / "runs").is_dir() else []


def rebuild(folder: Path, out: Path) -> None:
    """Build the kept runs into `out`. Raises `UserError` where there is none."""
    from leaderboards.build import build

    paths = runs(folder)
    if not paths:
        raise UserError(f"{str(folder / 'runs')!r} holds no run yet; add phantom runs with --add NAME=RUN")
    names = [Path(p).name for p in paths]
    build(paths, out, reference=REFERENCE if REFERENCE in names else None)


def differences(folder: Path) -> list[str]:
    """Files of the stored board that a fresh build does not reproduce byte for byte; empty when all is well."""
    with tempfile.TemporaryDirectory() as name:
        fresh, stored = Path(name) / "board", folder / "board"
        rebuild(folder, fresh)
        listed = [{p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()} for root in (fresh, stored)]
        found = [f"{path}: only in the {'build' if path in listed[0] else 'stored board'}"
                 for path in sorted(listed[0] ^ listed[1])]
        common = sorted(listed[0] & listed[1])
        _, changed, unread = filecmp.cmpfiles(fresh, stored, common, shallow=False)
    return found + [f"{path}: differs" for path in (*changed, *unread)]


if __name__ == "__main__":
    run_cli(main)
