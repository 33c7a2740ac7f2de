"""Shows what the phantom suite promises about its text: baselines at chance, exact scores recomputed from chains.

    python -m tasks.phantom.check                       # both tables
    python -m tasks.phantom.check baselines --n 3000
    python -m tasks.phantom.check defects --chains 200 --out cells.json

`baselines`: accuracy of baselines that never see an image, with intervals. `defects`: for each of the 16 cells
(steps missing x errors inserted) chains of all five tasks in every wording family; their events are read back from the
text alone and compared with the constructed ones. "Cannot tell" is no error: the reader says that a sentence was not
understood. Exit 1 when a baseline leaves the joint interval or a single event is read wrongly.
Must not import torch or anything of `bench`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from rewards.errors import Parser, UserError, run_cli
from rewards.types import LETTERS
from tasks.phantom.chains import FAMILIES, STEPS, pick
from tasks.phantom.defects import ERRORS, EVENTS, build
from tasks.phantom.facts import MODALITIES
from tasks.phantom.questions import ask
from tasks.phantom.reader import read

EXAMPLES = """examples:
  python -m tasks.phantom.check
  python -m tasks.phantom.check baselines --n 3000
  python -m tasks.phantom.check defects --chains 200 --out cells.json
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """Chains of one wording family with `missing` steps and `errors` errors.

    `exact` counts chains whose six events were all read as constructed, `cannot_tell` those with at least one open
    """

    family: str
    missing: int
    errors: int
    chains: int
    exact: int
    cannot_tell: int
    wrong: int


def cells(chains: int = 200, seed: int = 0, families: Sequence[str] = FAMILIES) -> list[Cell]:
    """Build and read back `chains` chains a cell and family; 16 cells."""
    found = []
    for family in families:
        for missing in range(len(STEPS) + 1):
            for errors in range(len(ERRORS) + 1):
                place = [seed, FAMILIES.index(family), missing, errors]
                counts = _read_back(family, missing, errors, chains, np.random.Generator(np.random.PCG64(place)))
                found.append(Cell(family, missing, errors, chains, counts["exact"], counts["cannot tell"],
                                  counts["wrong"]))
    return found


def _read_back(family: str, missing: int, errors: int, chains: int, rng: np.random.Generator) -> Counter[str]:
    counts: Counter[str] = Counter()
    for i in range(chains):
        question = pick(rng, ask(MODALITIES[i % len(MODALITIES)], rng)[1])
        made = build(question, rng, pick(rng, list(combinations(STEPS, missing))),
                     pick(rng, list(combinations(ERRORS, errors))), family)
        events = read(made.chain.text, question, LETTERS[question.answer_index]).events
        known = {name: value for name, value in events.items() if value is not None}
        if any(value != made.events[name] for name, value in known.items()):
            counts["wrong"] += 1
        else:
            counts["exact" if len(known) == len(EVENTS) else "cannot tell"] += 1
    return counts


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = Parser(prog="python -m tasks.phantom.check", epilog=EXAMPLES,
                    description="Check the phantom suite's questions and its defect library.")
    parser.add_argument("what", nargs="?", choices=("baselines", "defects", "all"), default="all")
    parser.add_argument("--n", type=int, default=3000, help="test samples a task for the baselines (default 3000)")
    parser.add_argument("--train", type=int, default=3000, help="train samples for those that learn (default 3000)")
    parser.add_argument("--chains", type=int, default=200, help="chains a cell and wording family (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="data seed, 0 or more (default 0)")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    args = parser.parse_args(argv)
    for name in ("n", "train", "chains"):
        if getattr(args, name) < 10:
            raise UserError(f"--{name} {getattr(args, name)}: expected 10 or more")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: expected 0 or more")
    if args.out and (args.out.is_dir() or not args.out.absolute().parent.is_dir()):
        raise UserError(f"--out {args.out}: expected a file in a folder that exists")
    figures: dict[str, Any] = {"seed": args.seed}
    fine = True
    if args.what in ("baselines", "all"):
        fine = _baselines(args.n, args.train, args.seed, figures)
    if args.what in ("defects", "all"):
        fine = _defects(args.chains, args.seed, figures) and fine
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if fine else 1


def _baselines(n: int, train: int, seed: int, figures: dict[str, Any]) -> bool:
    from tasks.phantom.baselines import measure

    print(f"Baselines that never see the image: {n} test samples a task, learnt on {train}; "
          "95 % intervals by image\n")
    print(f"{'task':8}{'baseline':20}{'accuracy':>9}  {'95 % interval':17}{'chance':>7}")
    rows = [row for task in MODALITIES for row in measure(task, n, train, seed)]
    for row in rows:
        mark = "" if row.at_chance else "  outside, " + ("inside jointly" if row.at_chance_together else "also jointly")
        print(f"{row.task:8}{row.baseline:20}{row.accuracy:>9.1%}  [{row.low:.1%}, {row.high:.1%}]  "
              f"{row.chance:>7.1%}{mark}")
    alone, jointly = (sum(getattr(row, name) for row in rows) for name in ("at_chance", "at_chance_together"))
    print(f"\n{alone} of {len(rows)} intervals hold the chance level ({0.05 * len(rows):.1f} misses are expected of "
          f"fair questions); jointly at 95 %: {jointly} of {len(rows)}\n")
    figures["baselines"] = [asdict(row) for row in rows]
    return all(row.at_chance_together for row in rows)


def _defects(chains: int, seed: int, figures: dict[str, Any]) -> bool:
    found = cells(chains, seed)
    print(f"Defect library: {chains} chains a cell; scores constructed, then recomputed from the text\n")
    print(f"{'wording':9}{'missing':>8}{'errors':>7}{'integrity':>10}{'knowledge':>10}{'exact':>7}{'cannot tell':>13}"
          f"{'wrong':>7}")
    for cell in found:
        scores = [max(0.0, 1 - 0.4 * defects) for defects in (cell.missing, cell.errors)]
        print(f"{cell.family:9}{cell.missing:>8}{cell.errors:>7}{scores[0]:>10.1f}{scores[1]:>10.1f}{cell.exact:>7}"
              f"{cell.cannot_tell:>13}{cell.wrong:>7}")
    print()
    for family in FAMILIES:
        part = [cell for cell in found if cell.family == family]
        n = sum(cell.chains for cell in part)
        exact, open_ = sum(cell.exact for cell in part), sum(cell.cannot_tell for cell in part)
        print(f"{family:9}{exact} of {n - open_} chains that could be told are exact; "
              f"cannot tell {open_ / n:.1%} of {n}")
    figures["cells"] = [asdict(cell) for cell in found]
    return not any(cell.wrong for cell in found)


if __name__ == "__main__":
    run_cli(main)
