"""What is trained: a TOML file, checked whole before anything loads.

    recipe = load("phantom", settings=["grpo.num_generations=8"])       # a shipped name, or a path
    recipe.variants["beta"].parent, recipe.digest

A recipe names a base model, data sets, rewards, trainer settings and *variants*: each variant is one stage (`sft` or
`grpo`) on top of its parent. `extends = "OTHER"` takes another recipe's tables and changes keys of them, one level
deep: a recipe that is extended extends nothing itself. A list replaces a list. Trainer settings are TRL's own
(`trainers.settings`). Must not import torch, transformers or trl.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rewards.errors import UserError, suggest

SHIPPED = Path(__file__).parent / "recipes"
BASE = "base"
"""The name of the model that training starts from; every family of variants begins with it."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Table):
    """One data set that a stage is trained on.

    `source` None: the recipe's. `split` as the source names it. `limit` None: the whole split (phantom: its default
    size; a limit draws a split of any size). `target` is what supervised fine-tuning imitates: "reasoning" (think block
    and answer; rows without reasoning are left out and counted), "answer" (the answer block alone) or "description"
    (phantom: every fact of the image, asked for in so many words). `teacher` names a table of `teachers` and writes the
    reasoning of phantom data; None: the flaw-free one. GRPO uses neither.
    """

    source: str | None = None
    tasks: tuple[str, ...] = ("path",)
    split: str
    limit: int | None = Field(default=None, ge=1)
    target: Literal["reasoning", "answer", "description"] = "reasoning"
    teacher: str | None = None


class Variant(_Table):
    """A trained model: one stage on top of its parent.

    `data` names one data set or several, which are put together. `reward` and `judge` belong to `grpo`; `set` changes
    trainer settings of this variant alone.
    """

    parent: str = BASE
    stage: Literal["sft", "grpo"]
    data: tuple[str, ...]
    reward: str | None = None
    judge: str | None = None
    set: dict[str, Any] = {}

    @field_validator("data", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def data_name(self) -> str:
        """The names of its data sets in one word."""
        return "+".join(self.data)


class Model(_Table):
    """How checkpoints are trained: the same for every variant.

    `freeze` lists beginnings of parameter names that stay as they are (Qwen2.5-VL's vision encoder: "model.visual").
    `lora`: settings of peft's LoraConfig, None for full fine-tuning; adapters are merged when a variant is done.
    `dtype` of the weights while training, `save_dtype` of the finished checkpoint (None: the same).
    `max_pixels` bounds an image's area (None: the checkpoint's own bound). `scratch`: the shape of a new tiny network
    with random weights (`bench.tiny.Shape`), in place of a base model.
    """

    freeze: tuple[str, ...] = ()
    lora: dict[str, Any] | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    save_dtype: Literal["float32", "bfloat16"] | None = None
    max_pixels: int | None = Field(default=None, ge=784)
    scratch: dict[str, Any] | None = None


class Guard(_Table):
    """When reinforcement stops by itself, resumable.

    `max_missing`: largest share in [0, 1] of completions without a total (a judge that does not answer), over the last
    `window` completions. `max_logp_difference`: largest mean absolute difference of log-probabilities between vLLM and
    the trainer, in nats a token; above it vLLM samples from another model than the one that is trained.
    """

    max_missing: float = Field(default=0.2, ge=0, le=1)
    window: int = Field(default=256, ge=1)
    max_logp_difference: float = Field(default=0.1, gt=0)


class Score(_Table):
    """How each variant is scored as soon as it stands: arguments of `bench.run`, see there.

    `reference` is the variant that transfer is measured against on the leaderboard.
    """

    source: str | None = None
    tasks: tuple[str, ...] = ("path", "ct", "derm", "fundus", "oct")
    split: str | None = None
    limit: int | None = Field(default=None, ge=1)
    controls: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    reward: str | None = None
    max_new_tokens: int = Field(default=1024, ge=1)
    batch_size: int = Field(default=16, ge=1)
    max_usd: float | None = Field(default=None, ge=0)
    reference: str | None = None


class Recipe(_Table):
    """The whole of it. `seeds` are those of weights' updates, sampling and phantom training data, one family each.

    `sft` and `grpo` are settings of TRL's SFTConfig and GRPOConfig, and two of this project: `batch_size` (samples an
    optimiser step over all processes; for grpo completions) and `micro_batch_size` (samples a forward pass of one
    process; None: all of its share). `judge`: settings of the judge stack (`rewards.judges.settings`) in training.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    base: str | None = None
    source: str | None = None
    seeds: tuple[int, ...] = (1,)
    model: Model = Model()
    data: dict[str, Data]
    teachers: dict[str, dict[str, Any]] = {}
    sft: dict[str, Any] = {}
    grpo: dict[str, Any] = {}
    judge: dict[str, Any] = {}
    guard: Guard = Guard()
    variants: dict[str, Variant]
    score: dict[str, Score] = {}

    @property
    def digest(self) -> str:
        """sha256 of the resolved recipe, hex; keys at their default value do not count."""
        return digest(self.model_dump(mode="json", exclude_defaults=True))

    def source_of(self, table: Data | Score) -> str:
        """The data source of a data set or of a scoring."""
        found = table.source or self.source
        if found is None:
            raise UserError(f"recipe {self.name!r} names no data source; give --data SOURCE (a folder of splits, a "
                            'data folder, hub or phantom), or source = "..." in the recipe')
        return found


def digest(value: Any) -> str:
    """sha256 of a JSON-able value, hex; the same for equal values in every process."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def load(reference: str, settings: Sequence[str] = (), overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe that a path or a shipped name leads to, with `a.b=c` settings applied, checked. Raises UserError."""
    path = find(reference)
    raw = _read(path)
    if "extends" in raw:
        other = find(str(raw.pop("extends")), beside=path)
        parent = _read(other)
        if "extends" in parent:
            raise UserError(f"{path.name} extends {other.name}, which extends another recipe itself; one level is "
                            "allowed: extend the last of them")
        raw = _merged(parent, raw)
    for text in settings:
        _set(raw, text)
    for key, value in (overrides or {}).items():
        raw[key] = value
    recipe = _checked(raw, path)
    _check(recipe)
    return recipe


def find(reference: str, beside: Path | None = None) -> Path:
    """The file of a recipe: a path (relative ones also beside another recipe), or a shipped name."""
    shipped = {path.stem: path for path in SHIPPED.glob("*.toml")}
    for path in (Path(reference), *([beside.parent / reference] if beside else [])):
        if path.is_file():
            return path
    if reference in shipped:
        return shipped[reference]
    raise UserError(f"no recipe {reference!r}{suggest(reference, shipped)}; expected a TOML file, or one of "
                    f"{', '.join(sorted(shipped))}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UserError(f"recipe {path} does not read as TOML: {problem}") from problem


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`; tables are merged key by key."""
    found = dict(low)
    for key, value in high.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


def _set(raw: dict[str, Any], text: str) -> None:
    """Apply one `a.b=c`; the value is read as TOML, and as plain text where it is none."""
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UserError(f"--set {text!r}: expected KEY.KEY=VALUE, for example --set grpo.num_generations=8")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value
    place = raw
    for key in keys[:-1]:
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {text!r}: {key!r} is a value of this recipe, not a table")
        place[key] = place = dict(inner)  # a table shared with the extended recipe stays as it is
    place[keys[-1]] = parsed


def _checked(raw: Mapping[str, Any], path: Path) -> Recipe:
    try:
        return Recipe(**raw)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = [str(part) for part in first["loc"]]
        if first["type"] == "extra_forbidden":
            known = _fields(where[:-1])
            raise UserError(f"recipe {path}: unknown key {'.'.join(where)!r}{suggest(where[-1], known)}; known here: "
                            f"{', '.join(known)}") from None
        if first["type"] == "missing":
            raise UserError(f"recipe {path}: {'.'.join(where)} is missing") from None
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"recipe {path}: {'.'.join(where)}: {message}, got {first['input']!r}") from None


_TABLES: Mapping[str, type[_Table]] = {"model": Model, "data": Data, "guard": Guard, "variants": Variant,
                                       "score": Score}


def _fields(where: Sequence[str]) -> list[str]:
    """Keys of the table at `where` ("variants", "beta")."""
    return sorted((_TABLES[where[0]] if where else Recipe).model_fields)


def _check(recipe: Recipe) -> None:
    """What one table says of another. Raises UserError."""
    if (recipe.base is None) == (recipe.model.scratch is None):
        raise UserError(f"recipe {recipe.name!r}: give a base model, or the shape of a new one in [model.scratch], "
                        "not both and not neither")
    if not recipe.variants:
        raise UserError(f"recipe {recipe.name!r} has no variants; expected at least one table [variants.NAME]")
    if not recipe.seeds or len(set(recipe.seeds)) < len(recipe.seeds) or min(recipe.seeds) < 0:
        raise UserError(f"seeds {list(recipe.seeds)}: expected different whole numbers of 0 or more")
    for name, variant in recipe.variants.items():
        where = f"variant {name!r}"
        if name == BASE or not name.replace("-", "").replace("_", "").isalnum():
            raise UserError(f"{where}: expected letters, digits, - and _, and another name than {BASE!r}")
        if variant.parent != BASE and variant.parent not in recipe.variants:
            raise UserError(f"{where} has the parent {variant.parent!r}{suggest(variant.parent, recipe.variants)}, "
                            f"which is no variant; expected {BASE!r} or one of {', '.join(recipe.variants)}")
        for wanted in variant.data:
            if wanted not in recipe.data:
                raise UserError(f"{where} is trained on {wanted!r}{suggest(wanted, recipe.data)}, which is no data "
                                f"set; there are {', '.join(recipe.data)}")
        if not variant.data:
            raise UserError(f"{where} is trained on nothing; name a data set")
        if (variant.stage == "grpo") != (variant.reward is not None):
            raise UserError(f"{where}: a reward belongs to every grpo stage, and to no other")
        if variant.judge is not None and variant.reward is None:
            raise UserError(f"{where} names a judge and no reward")
    for name, data in recipe.data.items():
        if data.teacher is not None and data.teacher not in recipe.teachers:
            raise UserError(f"data set {name!r} has the teacher {data.teacher!r}"
                            f"{suggest(data.teacher, recipe.teachers)}, which is no table of [teachers]; there are "
                            f"{', '.join(recipe.teachers) or 'none'}")
    for name, score in recipe.score.items():
        if score.reference not in (None, BASE, *recipe.variants):
            raise UserError(f"score.{name}.reference {score.reference!r} is no variant"
                            f"{suggest(str(score.reference), recipe.variants)}")
        if score.reward is not None and not score.judges:
            raise UserError(f"score.{name}.reward needs judges: without one nothing is scored")
