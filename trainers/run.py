"""Train the variants of a recipe, score each as soon as it stands, and rebuild the leaderboard.

    python -m trainers.run phantom                                   # a shipped recipe, or a path to a TOML file
    python -m trainers.run phantom --variants alpha,beta --seeds 1,2,3
    accelerate launch --config_file trainers/accelerate/fsdp2.yaml -m trainers.run pathvlm-r1 --data splits

Everything is checked before a model loads; finished stages are never trained again, and a killed one goes on from its
last checkpoint. torch and trl are imported once the recipe has been checked.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.manifest import write_json
from rewards.errors import Parser, UserError, run_cli
from trainers import recipe as recipes
from trainers.examples import joined
from trainers.graph import Stage
from trainers.prepare import Family, ask_judges, prepare
from trainers.recipe import BASE, Recipe, digest
from trainers.world import World

EPILOG = """\
examples:
  python -m trainers.run phantom --dry-run                   what it will do, in numbers
  python -m trainers.run phantom                             six variants and their controls on two CPU cores
  python -m trainers.run phantom --variants beta --set grpo.num_generations=8 --out runs/eight
  python -m trainers.run my-recipe.toml --seeds 1,2,3        three families, one row a variant on the leaderboard
  torchrun --nproc_per_node 2 -m trainers.run phantom --processes 2
  accelerate launch --config_file trainers/accelerate/fsdp2.yaml -m trainers.run pathvlm-r1 --data splits

The same --out resumes. API keys of judges come from the environment.
"""


@dataclass(slots=True)
class Asked:
    """The command line, read."""

    recipe: Recipe
    out: Path
    only: list[str] | None
    dry_run: bool
    processes: int | None
    train_only: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    asked = from_args(argv)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports each trainer's start otherwise
    world = World.join(asked.processes)
    if not world.main:
        sys.stderr = sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115  (one process speaks)
    return run(asked, world)


def run(asked: Asked, world: World) -> int:
    """Check everything, then train, score and publish stage by stage. Raises UserError."""
    families = prepare(asked.recipe, asked.out, asked.only, world.size)
    if asked.dry_run:
        if world.main:
            _show(asked.recipe, families, world)
        return 0
    found = world.on_main(lambda: _found(asked.recipe))
    world.on_main(lambda: _open(asked))
    world.on_main(lambda: ask_judges(families))
    base = world.on_main(lambda: _base(asked, found))
    times: list[tuple[int, str, str, float, float]] = []
    for family in families:
        _family(asked, family, base, world, times)
    if world.main:
        _closing(asked, families, times)
    return 0


def from_args(argv: Sequence[str] | None = None) -> Asked:
    """Parse, load the recipe, check. Raises UserError."""
    a = parser().parse_args(argv)
    overrides: dict[str, Any] = {}
    if a.data is not None:
        overrides["source"] = a.data
    if a.base is not None:
        overrides["base"] = a.base
    if a.seeds is not None:
        overrides["seeds"] = _numbers(a.seeds)
    recipe = recipes.load(a.recipe, a.set, overrides)
    out = a.out or Path("runs") / recipe.name
    from bench.config import require_writable

    require_writable(out)
    only = None if a.variants is None else [name.strip() for name in a.variants.split(",") if name.strip()]
    if only is not None and not only:
        raise UserError(f"--variants {a.variants!r} names none; this recipe has {', '.join(recipe.variants)}")
    return Asked(recipe, out, only, a.dry_run, a.processes, a.train_only)


def parser() -> Parser:
    """The command line of `trainers.run`."""
    p = Parser(prog="python -m trainers.run", epilog=EPILOG,
               description="Train the variants of a recipe, score each at once, update the leaderboard.")
    p.add_argument("recipe", help="TOML file, or a shipped name (phantom, phantom-tiny, pathvlm-r1)")
    p.add_argument("--variants", metavar="NAMES", help="comma-separated; their ancestors come along (default: all)")
    p.add_argument("--seeds", metavar="N,N", help="one family of variants a seed (default: the recipe's)")
    p.add_argument("--set", action="append", default=[], metavar="KEY.KEY=VALUE", help="change one setting; repeatable")
    p.add_argument("--data", metavar="SOURCE", help="data source of tables that name none: a folder of splits, a data "
                   "folder, hub, or phantom")
    p.add_argument("--base", metavar="REF", help="model that training starts from: checkpoint folder, hub id, built-in")
    p.add_argument("--out", type=Path, metavar="DIR", help="where everything goes (default: runs/<recipe>)")
    p.add_argument("--dry-run", action="store_true", help="check everything and print the plan; nothing is written")
    p.add_argument("--processes", type=int, metavar="N", help="refuse to start unless a launcher started N processes")
    p.add_argument("--train-only", action="store_true", help="neither score nor build the leaderboard")
    return p


def _family(asked: Asked, family: Family, base: Path, world: World, times: list[tuple[int, str, str, float, float]],
            ) -> None:
    from trainers.stage import Job, train

    folders = {BASE: base}
    for stage in family.stages:
        folder = asked.out / f"seed-{family.seed}" / stage.name
        job = Job(asked.recipe, stage.name, stage.variant.parent, folders[stage.variant.parent], folder, family.seed,
                  stage.variant.data_name, joined([family.examples[name] for name in stage.variant.data]),
                  family.batchings[stage.name], family.rewards.get(stage.name))
        _say(f"seed {family.seed}, {stage.name}: {stage.variant.stage} on {stage.variant.data_name}, "
             f"{job.batching.steps(len(job.examples))} steps from {stage.variant.parent}")
        folders[stage.name] = train(job, world)
        if not asked.train_only and stage.wanted:
            world.on_main(lambda job=job, stage=stage: _publish(asked, job, stage, times))  # type: ignore[misc]


def _publish(asked: Asked, job: Any, stage: Stage, times: list[tuple[int, str, str, float, float]]) -> None:
    """Score a variant that stands, and build the leaderboard again."""
    from bench.manifest import read as read_manifest
    from trainers.curves import chosen, thinned
    from trainers.scoring import board

    manifest = read_manifest(job.folder / "checkpoint") or {}
    log = job.folder / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    training = {
        "variant": stage.name, "parent": stage.variant.parent, "stage": stage.variant.stage.upper(),
        "order": stage.order, "seed": stage.seed, "data": stage.variant.data_name, "reward": stage.variant.reward,
        "judge": (manifest.get("reward") or {}).get("judge"), "steps": manifest.get("steps"),
        "wall_s": manifest.get("wall_s"), "settings": manifest.get("settings"),
        "data_sha256": manifest.get("data_sha256"),
        "curves": {name: thinned(points) for name, points in chosen(entries).items()},
    }
    started = time.monotonic()
    checkpoint = job.folder / "checkpoint"
    if _score(asked, str(checkpoint), job.folder, checkpoint, training):
        board(asked.recipe, asked.out, _runs(asked))
    times.append((stage.seed, stage.name, stage.variant.stage, float(manifest.get("wall_s") or 0),
                  time.monotonic() - started))


def _score(asked: Asked, model: str, folder: Path, checkpoint: Path, training: dict[str, Any]) -> bool:
    """Score one checkpoint unless that was done; True where it was not."""
    from bench.models.checkpoint import fingerprint
    from trainers.scoring import score

    of = {"fingerprint": fingerprint(checkpoint),
          "score": digest([table.model_dump(mode="json") for table in asked.recipe.score.values()])}
    places = [folder / f"run-{name}" / "variant.json" for name in asked.recipe.score]
    if all(path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("of") == of for path in places):
        return False
    if training["variant"] == BASE:
        _say(f"base: scoring {asked.recipe.base}")
    score(asked.recipe, model, folder, {**training, "of": of, "recipe": asked.recipe.name,
                                        "recipe_sha256": asked.recipe.digest})
    return True


def _runs(asked: Asked) -> dict[str, list[Path]]:
    """Folders that have been scored, by variant in the order of the recipe, base first."""
    found: dict[str, list[Path]] = {}
    for name in [BASE, *asked.recipe.variants]:
        places = [asked.out / BASE] if name == BASE else [asked.out / f"seed-{seed}" / name
                                                        for seed in asked.recipe.seeds]
        ready = [path for path in places if all((path / f"run-{score}" / "variant.json").is_file()
                                                for score in asked.recipe.score)]
        if ready:
            found[name] = ready
    return found


def _found(recipe: Recipe) -> Path | None:
    """The folder of the base model, None for a recipe that starts from nothing. Raises UserError."""
    from bench.models.checkpoint import locate, read_config

    if recipe.model.scratch is not None:
        return None
    folder = locate(str(recipe.base), "base model")
    read_config(folder)
    return folder


def _base(asked: Asked, found: Path | None) -> Path:
    """The base model: built where the recipe starts from nothing, scored where it was found."""
    if found is None:
        from trainers.scratch import build

        return build(asked.recipe, asked.out / BASE / "checkpoint")
    if not asked.train_only:
        _score(asked, str(asked.recipe.base), asked.out / BASE, found, {"variant": BASE, "stage": "", "order": 0})
    return found


def _open(asked: Asked) -> None:
    """Write the resolved recipe first."""
    asked.out.mkdir(parents=True, exist_ok=True)
    write_json(asked.out / "recipe.json", {"sha256": asked.recipe.digest,
                                           "recipe": asked.recipe.model_dump(mode="json")})


def _show(recipe: Recipe, families: Sequence[Family], world: World) -> None:
    from trainers.plan import plan, show

    rows = [row for family in families
            for row in plan(recipe, family.stages, family.examples, family.batchings, family.rewards)]
    show(recipe, rows, world.size)


def _closing(asked: Asked, families: Sequence[Family], times: Sequence[tuple[int, str, str, float, float]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if times:
        table = Table("seed", "variant", "stage", "training s", "scoring s", box=box.SIMPLE_HEAD, pad_edge=False)
        for seed, name, stage, trained, scored in times:
            table.add_row(str(seed), name, stage, f"{trained:.0f}", f"{scored:.0f}")
        Console().print(table)
    if not asked.train_only and asked.recipe.score:
        from trainers.scoring import board

        for page in board(asked.recipe, asked.out, _runs(asked)):
            print((page.parent / "leaderboard.md").read_text(encoding="utf-8"))
            print(f"leaderboard in {page}")
    print(f"checkpoints in {asked.out}: {', '.join(f'seed-{f.seed}/' for f in families)}"
          f"{', '.join(s.name for s in families[0].stages)}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"--seeds {text!r}: expected whole numbers with commas, such as 1,2,3") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_cli(main)
