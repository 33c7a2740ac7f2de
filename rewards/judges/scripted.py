"""`scripted:FILE`: replies read from a file, for tests and for `--dry-run` (`scripted:honest` needs no file).

    scripted:replies.jsonl   lines {"when": "words of the user message", "text": "...", "finish_reason": "stop"}
    scripted:honest          a well-formed verdict for every protocol: every event "no" / every number 0.6

The first line whose `when` occurs in the user message answers; a request that no line answers fails by name.
Must not import a vendor SDK.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from rewards.errors import UserError
from rewards.judges.base import JudgeBackend, JudgeError, JudgeReply, JudgeRequest
from rewards.judges.registry import judge_backend


@judge_backend("scripted")
class Scripted(JudgeBackend):
    """Answers from a JSONL file, or "honest" for a fixed well-formed verdict."""

    needs_model = True
    sees_images = True

    @property
    def endpoint(self) -> str:
        """The script's content decides the replies, so that an edited script is not answered from the cache."""
        return f"in-process:scripted:{json.dumps(self._lines)}" if self.model != "honest" else "in-process:scripted"

    @cached_property
    def _lines(self) -> list[dict[str, Any]]:
        path = Path(self.model)
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, json.JSONDecodeError) as problem:
            raise UserError(f"scripted judge: cannot read {path}: {problem}; write one JSON object a line with "
                            '"when" and "text", or use scripted:honest') from None
        for number, line in enumerate(lines, 1):
            if not isinstance(line, dict) or not isinstance(line.get("text"), str):
                raise UserError(f'scripted judge: line {number} of {path} needs a "text" field')
        return lines

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        """The first line that fits."""
        if self.model == "honest":
            event = {"evidence": "", "verdict": "no"}
            value: Any = event if request.expect.kind == "events" else 0.6
            return JudgeReply(text=json.dumps(dict.fromkeys(request.expect.names, value)), model="scripted")
        for line in self._lines:
            if line.get("when", "") in request.user:
                return JudgeReply(text=line["text"], finish_reason=line.get("finish_reason", "stop"), model="scripted")
        raise JudgeError("no-script", "no line of the script fits this request")
