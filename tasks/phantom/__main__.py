"""Command line of the phantom suite: `python -m tasks.phantom --sheet FILE.png`.

Writes a labelled contact sheet of what the generators draw. Phantom images are not clinical data.
Imports the drawing code only when it draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rewards.errors import Parser, UserError, run_cli, suggest

EXAMPLES = """examples:
  python -m tasks.phantom --sheet sheet.png
  python -m tasks.phantom --sheet ct.png --modalities ct --size 448 --per-row 4 --regions
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheet and print where it is."""
    about = "Phantom images: drawn from known facts, not clinical data."
    parser = Parser(prog="python -m tasks.phantom", description=about, epilog=EXAMPLES)
    parser.add_argument("--sheet", metavar="FILE.png", required=True, help="write a contact sheet to this PNG file")
    parser.add_argument("--modalities", default="all", help="comma-separated of path,ct,derm,fundus,oct (default: all)")
    parser.add_argument("--size", type=int, default=224, help="side of each image in pixels, 48 to 448 (default: 224)")
    parser.add_argument("--seed", type=int, default=0, help="seed of facts and looks, 0 or more (default: 0)")
    parser.add_argument("--per-row", type=int, default=6, help="images a modality, 1 to 20 (default: 6)")
    parser.add_argument("--regions", action="store_true", help="outline the regions of what the facts name")
    args = parser.parse_args(argv)

    from PIL.PngImagePlugin import PngInfo

    from tasks.phantom.canvas import MAX_SIZE, MIN_SIZE
    from tasks.phantom.facts import MODALITIES
    from tasks.phantom.sheet import TITLE, contact_sheet

    chosen = MODALITIES if args.modalities == "all" else tuple(args.modalities.split(","))
    for name in chosen:
        if name not in MODALITIES:
            raise UserError(f"unknown modality {name!r}{suggest(name, MODALITIES)}; "
                            f"expected {', '.join(MODALITIES)} or all")  # fmt: skip
    for flag, value, low, high in (("--size", args.size, MIN_SIZE, MAX_SIZE), ("--per-row", args.per_row, 1, 20),
                                   ("--seed", args.seed, 0, 2**31 - 1)):  # fmt: skip
        if not low <= value <= high:
            raise UserError(f"{flag} is {value}, expected {low} to {high}")
    target = Path(args.sheet)
    if target.suffix.lower() != ".png":
        raise UserError(f"--sheet is {args.sheet}, expected a file name that ends in .png")
    if not target.absolute().parent.is_dir():
        raise UserError(f"the folder of --sheet {args.sheet} does not exist; create it first")
    note = PngInfo()
    note.add_text("Comment", TITLE)
    contact_sheet(chosen, args.size, args.seed, args.per_row, args.regions).save(target, pnginfo=note)
    print(f"wrote {target} (phantom, not clinical data)")
    return 0


if __name__ == "__main__":
    run_cli(main)
