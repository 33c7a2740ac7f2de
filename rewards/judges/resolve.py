"""From a judge reference, as it is typed, to a judge inside the shared stack.

>>> resolve("scripted:honest").identity()["backend"]
'scripted@1'

    NAME                    rules
    NAME:MODEL              openai:gpt-4o   anthropic:claude-sonnet-4-5   local:./checkpoint   scripted:replies.jsonl
    NAME:MODEL@URL          openai:Qwen/Qwen2.5-VL-7B-Instruct@http://127.0.0.1:8000/v1

Settings are those of the stack (`StackSettings`) and those the backend accepts (`JudgeBackend.accepts`).
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from rewards.errors import UserError, suggest
from rewards.judges import registry
from rewards.judges.base import plain_url
from rewards.judges.settings import StackSettings
from rewards.judges.stack import Stack

_REFERENCE = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(?::(?P<model>.*?)(?:@(?P<url>https?://.*))?)?\Z", re.DOTALL)


def resolve(reference: str, **settings: Any) -> Stack:
    """The judge that `reference` names, with `settings` split between stack and backend. Raises `UserError`."""
    found = _REFERENCE.match(reference.strip())
    if found is None or found["model"] == "":
        raise UserError(f"judge reference {reference!r} cannot be read; write NAME, NAME:MODEL or NAME:MODEL@URL, "
                        "for example rules or openai:gpt-4o")
    cls = registry.find(found["name"])
    url = None if found["url"] is None else plain_url(found["url"], reference.partition("@")[0])
    own = {key: value for key, value in settings.items() if key in StackSettings.model_fields}
    rest = {key: value for key, value in settings.items() if key not in own}
    for key in rest:
        if key not in cls.accepts or key == "base_url":
            known = sorted({*StackSettings.model_fields, *cls.accepts} - {"base_url"})
            raise UserError(f"judge {found['name']!r} has no setting {key!r}{suggest(key, known)}; "
                            f"known: {', '.join(known)}")
    try:
        stack = StackSettings(**own)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise UserError(f"judge {reference!r}, {where}: {first['msg'].removeprefix('Value error, ')}") from None
    return Stack(cls(found["model"] or "", url, **rest), stack)
