"""The published leaderboard of the phantom suite: rebuilt, and checked, from the run files stored beside it.

    python -m leaderboards.publish --add base=runs/base --add r1=runs/s1,runs/s2   keep these runs, then build
    python -m leaderboards.publish                                           build again from the kept runs
    python -m leaderboards.publish --check                                   say whether the stored pages are that build

`published/runs/NAME/` (`NAME/1`, `NAME/2`, ... for several seeds) holds the result files as bench.run wrote them,
`published/board/` what leaderboards.build makes of
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
REFERENCE = "base"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; 1 where --check finds a difference."""
    made = Parser(prog="python -m leaderboards.publish", description="The published phantom board.", epilog=__doc__)
    made.add_argument("--add", action="append", default=[], metavar="NAME=RUN[,RUN]",
                      help="keep these runs (replaces NAME)")
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
    found = [RunFolder(path) for path in variant.runs]
    for run in found:
        suites = sorted({str(d.get("suite")) for d in (run.manifest.get("data") or {}).values()})
        if suites != ["phantom"]:
            raise UserError(f"{str(run.path)!r} is a run on {', '.join(suites) or 'no suite'}; "
                            "only phantom runs are published")
    if not variant.name.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"{item!r} cannot be kept; expected NAME=RUN[,RUN] with a name of letters, digits, - and _")
    target = folder / "runs" / variant.name
    shutil.rmtree(target, ignore_errors=True)
    for number, run in enumerate(found, 1):
        place = target if len(found) == 1 else target / str(number)
        place.mkdir(parents=True)
        for name in FILES:
            if (run.path / name).is_file():
                shutil.copyfile(run.path / name, place / name)
        if number == 1 and (run.path / "thumbnails").is_dir():  # seeds are scored on the same images
            shutil.copytree(run.path / "thumbnails", place / "thumbnails")


def runs(folder: Path) -> list[str]:
    """The kept runs as arguments of the build, NAME=RUN[,RUN], by name; empty where nothing is published yet."""
    if not (folder / "runs").is_dir():
        return []
    found = []
    for path in sorted(p for p in (folder / "runs").iterdir() if p.is_dir()):
        seeds = sorted(p for p in path.iterdir() if (p / "manifest.json").is_file())
        found.append(f"{path.name}={','.join(map(str, seeds or [path]))}")
    return found


def rebuild(folder: Path, out: Path) -> None:
    """Build the kept runs into `out`. Raises `UserError` where there is none."""
    from leaderboards.build import build

    paths = runs(folder)
    if not paths:
        raise UserError(f"{str(folder / 'runs')!r} holds no run yet; add phantom runs with --add NAME=RUN")
    names = [argument.partition("=")[0] for argument in paths]
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
