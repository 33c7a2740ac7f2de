"""What a reward is made of, as a file: read whole and refused whole, before anything is loaded or asked.

>>> sorted(shipped()), read({"parts": {"format": {}, "accuracy": {"contract": "strict"}}}).parts["accuracy"].settings
(['dual', 'outcome', 'quality', 'reasoning'], {'contract': 'strict'})

    name = "gated"
    combine = "gate"                 # sum (default), mean, product, gate; see rewards.composite
    gate = ["format"]
    [judge]                          # how judged parts are asked; settings of the judge protocol
    protocol = "events"              # or "paper"
    show = "reference"
    [parts.format]                   # the key is the part's name ...
    [parts.lenient]                  # ... or a label of your own, with
    part = "accuracy"
    weight = 1.0                     # 0: reported, not part of the total
    required = true                  # false: may be missing
    contract = "letter"              # everything else is a setting of the part
    [parts.both]                     # a group of parts inside
    combine = "mean"
    [parts.both.parts.integrity]
    [parts.both.parts.knowledge]

Unknown keys are `UserError`s that name the closest known one. Must not import a vendor SDK or a tensor library.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rewards import registry
from rewards.errors import UserError, suggest

_M = TypeVar("_M", bound=BaseModel)

Combine = Literal["sum", "mean", "product", "gate"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Frozen):
    """One part in a spec. `settings` are complete: defaults are filled in, so that a fingerprint names them."""

    part: str
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    required: bool = True
    settings: dict[str, Any] = {}


class Group(_Frozen):
    """Parts and how they become one value. `gate` names members that must reach `gate_at` for the others to count."""

    combine: Combine = "sum"
    gate: tuple[str, ...] = ()
    gate_at: float = Field(1.0, gt=0, le=1)
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    required: bool = True
    parts: dict[str, Entry | Group]


class JudgeSpec(_Frozen):
    """How judges are asked: the protocol of the process parts with its settings, and the settings of `quality`.

    `ref` names the judge (`rules`, `openai:MODEL`, ...) where the caller names none.
    """

    ref: str | None = None
    protocol: Literal["events", "paper"] = "events"
    settings: dict[str, Any] = {}
    quality: dict[str, Any] = {}


class Spec(Group):
    """A whole reward. `name` is for people; it is not part of the fingerprint."""

    name: str = "custom"
    judge: JudgeSpec = JudgeSpec()


def shipped() -> list[str]:
    """Names of the specs that come with the project."""
    folder = resources.files("rewards").joinpath("specs")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def read(source: str | Path | Mapping[str, Any] | Spec, penalty: float | None = None) -> Spec:
    """A shipped name, a TOML file or a dict, as a checked `Spec`. Raises `UserError`.

    `penalty` replaces the setting of that name in every part that has one.
    """
    if isinstance(source, Spec):
        raw: Mapping[str, Any] = _plain(source)
    elif isinstance(source, Mapping):
        raw = source
    else:
        raw = _from_file(source)
    spec = _spec(raw)
    return spec if penalty is None else _with_penalty(spec, penalty)


def _from_file(source: str | Path) -> dict[str, Any]:
    name = str(source)
    if name in shipped():
        text = resources.files("rewards").joinpath("specs", f"{name}.toml").read_text(encoding="utf-8")
    else:
        path = Path(source)
        if not path.is_file():
            known = ", ".join(shipped())
            raise UserError(f"no reward spec {name!r}{suggest(name, shipped())}; expected a TOML file or {known}")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as problem:
            raise UserError(f"reward spec {name}: cannot be read as text: {problem}") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise UserError(f"reward spec {name}: not valid TOML: {problem}") from None


def _spec(raw: Mapping[str, Any]) -> Spec:
    own = {key: value for key, value in raw.items() if key not in ("parts", "judge")}
    for key in ("weight", "required"):
        if key in own:
            raise UserError(f"reward spec: {key!r} belongs to a part or a group, not to the whole reward")
    _known(own, [name for name in Spec.model_fields if name not in ("weight", "required")], "reward spec")
    spec = _checked(Spec, {**own, "judge": _judge(raw.get("judge", {})), "parts": _parts(raw, "")}, "reward spec")
    _check_group(spec, "")
    return spec


def _judge(raw: Any) -> JudgeSpec:
    from rewards.judges.protocols import PROTOCOLS

    where = "reward spec, [judge]"
    if not isinstance(raw, Mapping):
        raise UserError(f"{where}: expected a table, got {raw!r}")
    own = {key: value for key, value in raw.items() if key in ("ref", "protocol", "quality")}
    settings = {key: value for key, value in raw.items() if key not in own}
    judge = _checked(JudgeSpec, own, where)
    given = {judge.protocol: settings, "quality": judge.quality}
    complete = {}
    for name, chosen in given.items():
        model = PROTOCOLS[name].Settings
        _known(chosen, [*model.model_fields, "ref", "protocol", "quality"], f"{where}, protocol {name!r}")
        complete[name] = _checked(model, chosen, f"{where}, protocol {name!r}").model_dump(mode="json")
    return judge.model_copy(update={"settings": complete[judge.protocol], "quality": complete["quality"]})


def _parts(raw: Mapping[str, Any], path: str) -> dict[str, Entry | Group]:
    parts = raw.get("parts")
    where = f"reward spec, parts.{path}" if path else "reward spec"
    if not isinstance(parts, Mapping) or not parts:
        raise UserError(f"{where}: needs at least one part, for example [parts.format]")
    made: dict[str, Entry | Group] = {}
    for label, entry in parts.items():
        place = f"{path}parts.{label}"
        if not isinstance(entry, Mapping):
            raise UserError(f"reward spec, {place}: expected a table, got {entry!r}")
        made[label] = _group(entry, place) if "parts" in entry else _entry(label, entry, place)
    return made


def _group(raw: Mapping[str, Any], place: str) -> Group:
    where = f"reward spec, {place}"
    _known(raw, Group.model_fields, where)
    group = _checked(Group, {**raw, "parts": _parts(raw, f"{place}.")}, where)
    _check_group(group, where)
    if group.combine in ("sum", "gate") and math.fsum(part.weight for part in _counted(group)) > 1 + 1e-9:
        raise UserError(f"{where}: the weights inside a group must sum to at most 1, so that its value stays in [0, 1]")
    return group


def _entry(label: str, raw: Mapping[str, Any], place: str) -> Entry:
    where = f"reward spec, {place}"
    name = raw.get("part", label)
    if not isinstance(name, str):
        raise UserError(f"{where}: part must be a name, got {name!r}")
    cls = registry.find(name)
    own = {key: value for key, value in raw.items() if key in ("weight", "required", "settings")}
    settings = {key: value for key, value in raw.items() if key not in own and key != "part"}
    nested = own.pop("settings", {})
    if not isinstance(nested, Mapping):
        raise UserError(f"{where}: settings must be a table, got {nested!r}")
    settings |= nested
    _known(settings, [*cls.Settings.model_fields, "part", "weight", "required"], where, reserved=3)
    complete = _checked(cls.Settings, settings, where).model_dump(mode="json")
    return _checked(Entry, {**own, "part": name, "settings": complete}, where)


def _counted(group: Group) -> list[Entry | Group]:
    """Members whose value goes into the total."""
    return [part for label, part in group.parts.items() if label not in group.gate and part.weight > 0]


def _check_group(group: Group, where: str) -> None:
    where = where or "reward spec"
    if (group.combine == "gate") != bool(group.gate):
        raise UserError(f'{where}: gate = ["PART"] and combine = "gate" belong together')
    for label in group.gate:
        if label not in group.parts:
            raise UserError(f"{where}: gate {label!r} is not among its parts{suggest(label, group.parts)}")
        if not group.parts[label].required:
            raise UserError(f"{where}: gate {label!r} cannot be optional")
    if not _counted(group):
        raise UserError(f"{where}: no part counts; at least one needs a weight above 0")
    if group.combine == "product" and any(part.weight != 1 for part in _counted(group)):
        raise UserError(f"{where}: the parts of a product have weight 1 (or 0: reported only)")


def _known(given: Iterable[str], known: Iterable[str], where: str, reserved: int = 0) -> None:
    names = list(known)
    for key in given:
        if key not in names[: len(names) - reserved]:
            raise UserError(f"{where}: unknown key {key!r}{suggest(key, names)}; known: {', '.join(sorted(names))}")


def _checked(model: type[_M], values: Mapping[str, Any], where: str) -> _M:
    try:
        return model(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {field + ': ' if field else ''}{message}, got {first['input']!r}") from None


def _with_penalty(group: Any, penalty: float) -> Any:
    """The same spec with another penalty. Raises `UserError` when no part has one."""
    changed = 0

    def visit(node: Any, path: str) -> Any:
        nonlocal changed
        if isinstance(node, Entry):
            if "penalty" not in node.settings:
                return node
            changed += 1
            settings = {**node.settings, "penalty": penalty}
            _checked(registry.find(node.part).Settings, settings, f"penalty for {path}")
            return node.model_copy(update={"settings": settings})
        return node.model_copy(update={"parts": {label: visit(part, label) for label, part in node.parts.items()}})

    made = visit(group, "")
    if not changed:
        raise UserError(f"a penalty of {penalty} was given, but no part of this reward has a penalty")
    return made


def _plain(spec: Spec) -> dict[str, Any]:
    raw = spec.model_dump(mode="json", exclude={"weight", "required"})
    raw["judge"] |= raw["judge"].pop("settings")
    return raw
