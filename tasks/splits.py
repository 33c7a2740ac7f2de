"""Build image-disjoint SFT, RL, validation and test splits, or check that a folder of them has no overlap.

    python -m tasks.splits --data my-data --out splits
    python -m tasks.splits --data my-data --out small --sft 60 --rl 20 --val 10 --test 20 --subsets all
    python -m tasks.splits --verify splits

Questions about the same image (same bytes, same pixels, or nearly the same picture) go to one split as a whole. Sources
and answer letters are kept in proportion, in the splits and in their nested subsets. Sizes default to the paper's
3,000 / 1,000 / 385 / 1,000. Must not import torch or lm_eval.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tasks
from rewards.errors import ImageProblem, Parser, UserError, run_cli, suggest
from rewards.types import Sample

SIZES = {"sft": 3000, "rl": 1000, "val": 385, "test": 1000}
"""The paper's 5,385 questions; its 1,385 held-out ones are validation and test."""

NESTED = {"sft": (500, 1000, 2000, 3000), "rl": (250, 500, 1000)}
"""Subsets for learning curves, each inside the next."""

SUBSETS = ("PubMed", "EduContent")
"""The two PathMMU subsets the paper trains on."""


def build(data: str | Path, out: Path, sizes: Mapping[str, int], nested: Mapping[str, Sequence[int]], seed: int = 0,
          subsets: Sequence[str] | None = SUBSETS, source_split: str = "val,test", task: str = "path",
          near_bits: int | None = None) -> dict[str, Any]:
    """Write the splits into `out`, which must not exist or be empty; returns the manifest.

    `subsets` None takes all of them. `near_bits` is how many of 256 places of the perceptual hash may differ between
    copies (None: the default of `tasks.fingerprints`). The folder appears whole or not at all. Raises: UserError.
    """
    from tasks import split_files
    from tasks.fingerprints import NEAR_BITS, fingerprint, same_content
    from tasks.loaded import digest
    from tasks.partition import deal, interleave

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already: choose another --out, or delete it first")
    near = NEAR_BITS if near_bits is None else near_bits
    loaded = tasks.read(task, data, split=source_split)
    pool = _chosen(loaded.samples, subsets)
    wanted = sum(sizes.values())
    if len(pool) < wanted:
        raise UserError(f"the splits need {wanted:,} questions ({_listed(sizes)}) but only {len(pool):,} are usable "
                        f"({len(loaded.dropped):,} rows left out): ask for fewer with --sft, --rl, --val, --test, or "
                        "take more with --subsets all or --split all")
    images = {sample.image_sha256: sample.image for sample in pool}
    try:
        kinds = dict(zip(images, same_content([fingerprint(i) for i in images.values()], near), strict=True))
    except ImageProblem as problem:
        raise UserError(f"an image turned out damaged while comparing: {problem}; repair or remove it") from problem
    strata = [(sample.subset, sample.answer_letter) for sample in pool]
    try:
        dealt = deal(strata, [kinds[sample.image_sha256] for sample in pool], sizes, seed)
    except ValueError as problem:
        raise UserError(f"images shared by several questions leave the sizes out of reach ({problem}): ask for a few "
                        "questions fewer") from problem
    chosen = {name: [pool[i] for i in interleave(indices, strata, seed)] for name, indices in dealt.items()}
    about = {
        "task": task, "seed": seed, "sizes": dict(sizes), "near_bits": near,
        "source": {"suite": loaded.suite, "split": source_split, "subsets": list(subsets) if subsets else "all",
                   "questions": len(pool), "unused": len(pool) - wanted, "data_sha256": digest(pool),
                   "left_out": loaded.reasons()},
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(f"--out {out} cannot be made ({problem.strerror}); choose another folder") from problem
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        folder = Path(temporary) / "splits"
        folder.mkdir()
        manifest = split_files.write(folder, chosen, {name: nested.get(name, ()) for name in sizes}, about)
        split_files.verify(folder)
        if out.exists():
            out.rmdir()
        shutil.move(folder, out)
    return manifest


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command: build, or verify."""
    args = _parser().parse_args(argv)
    if args.verify is not None:
        from tasks.split_files import verify

        manifest = verify(args.verify)
        print(f"{args.verify}: no overlap; {_table(manifest)}")
        return 0
    if args.data is None or args.out is None:
        raise UserError("give --data SOURCE and --out DIR to build splits, or --verify DIR to check them")
    sizes = {name: getattr(args, name) for name in SIZES if getattr(args, name)}
    if not sizes:
        raise UserError("all sizes are 0: nothing to build")
    nested = {name: _nested(name, getattr(args, f"{name}_nested"), sizes) for name in NESTED}
    subsets = None if args.subsets == "all" else [name.strip() for name in args.subsets.split(",")]
    manifest = build(args.data, args.out, sizes, nested, args.seed, subsets, args.split, args.task, args.near_bits)
    print(f"{args.out}: {_table(manifest)}")
    return 0


def _chosen(samples: Sequence[Sample], subsets: Sequence[str] | None) -> list[Sample]:
    known = sorted({sample.subset for sample in samples})
    for name in subsets or ():
        if name not in known:
            raise UserError(f"no usable question of subset {name!r}{suggest(name, known)}; this source has "
                            f"{', '.join(known) or 'none'}")
    return [sample for sample in samples if subsets is None or sample.subset in subsets]


def _nested(name: str, given: str | None, sizes: Mapping[str, int]) -> list[int]:
    """Sizes of a split's nested subsets: as given, or those of the paper that fit."""
    size = sizes.get(name, 0)
    if given is None:
        return [n for n in NESTED[name] if n <= size]
    try:
        numbers = sorted({int(n) for n in given.split(",") if n.strip()})
    except ValueError as problem:
        raise UserError(f"--{name}-nested {given!r}: expected whole numbers with commas, such as 500,1000") from problem
    if numbers and not 0 < numbers[0] <= numbers[-1] <= size:
        raise UserError(f"--{name}-nested {given}: every size must lie in 1..{size}, the size of {name}")
    return numbers


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size:,}" for name, size in sizes.items())


def _table(manifest: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {info['questions']:,} questions on {info['images']:,} images"
                     for name, info in manifest["files"].items() if "-" not in name)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, not {text!r}")
    return int(text)


def _parser() -> Parser:
    parser = Parser(prog="python -m tasks.splits", description="Build or verify image-disjoint splits.",
                    epilog=(__doc__ or "").partition("\n\n")[2].partition("\n\n")[0])
    parser.add_argument("--data", help="data folder, file of derived rows, hub, or phantom")
    parser.add_argument("--out", type=Path, help="folder to create")
    parser.add_argument("--verify", type=Path, metavar="DIR", help="check a folder of splits instead of building one")
    for name, size in SIZES.items():
        parser.add_argument(f"--{name}", type=_count, default=size, metavar="N", help=f"questions in {name} ({size})")
    for name, numbers in NESTED.items():
        parser.add_argument(f"--{name}-nested", metavar="N,N", help=f"nested subsets of {name} (those of "
                            f"{','.join(map(str, numbers))} that fit)")
    parser.add_argument("--task", default="path", help="task to split (path)")
    parser.add_argument("--subsets", default=",".join(SUBSETS), help="subsets to use, or all (PubMed,EduContent)")
    parser.add_argument("--split", default="val,test", help="source splits to pool (val,test)")
    parser.add_argument("--seed", type=_count, default=0, help="(0)")
    parser.add_argument("--near-bits", type=_count, metavar="N",
                        help="of 256 places of the perceptual hash, how many may differ between copies (12)")
    return parser


if __name__ == "__main__":
    run_cli(main)
