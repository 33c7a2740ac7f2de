"""Protocols: what a judge is asked, and how its verdict becomes values. One module each, found by name.

>>> load("events", image=False).settings.image
False

`events` (default): six yes/no events with evidence; the scores are computed in code, for any penalty.
`paper`: two floats, with the paper's ladder and its named fallback policies. `quality`: six graded criteria.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from rewards.errors import UserError, suggest
from rewards.judges.protocols.base import Judgement, JudgeProtocol
from rewards.judges.protocols.events import Events
from rewards.judges.protocols.paper import Paper
from rewards.judges.protocols.quality import Quality

PROTOCOLS: dict[str, type[JudgeProtocol]] = {cls.name: cls for cls in (Events, Paper, Quality)}

__all__ = ["PROTOCOLS", "Events", "JudgeProtocol", "Judgement", "Paper", "Quality", "load"]


def load(name: str = "events", **settings: Any) -> JudgeProtocol:
    """The protocol `name` with its settings. Raises `UserError` for an unknown name, key or value."""
    if name not in PROTOCOLS:
        raise UserError(f"no judge protocol {name!r}{suggest(name, PROTOCOLS)}; known: {', '.join(PROTOCOLS)}")
    cls = PROTOCOLS[name]
    fields = cls.Settings.model_fields
    for key in settings:
        if key not in fields:
            raise UserError(f"protocol {name!r} has no setting {key!r}{suggest(key, fields)}; "
                            f"known: {', '.join(fields)}")
    try:
        return cls(cls.Settings(**settings))
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"protocol {name!r}, setting {where!r}: {first['msg']}, got {first['input']!r}") from None
