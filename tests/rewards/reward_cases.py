"""Samples, stored rows and judges that the tests of this folder share."""

import asyncio
import json

from rewards.judges.base import JudgeReply
from rewards.types import Sample

OPTIONS = ("Adenoma", "Normal colon", "Lymphoma")
GOLD = "<think>Even crypts with goblet cells.</think><answer>B) Normal colon</answer>"

ANSWERS = {
    "gold": GOLD,
    "wrong": "<think>Crowded glands.</think><answer>A) Adenoma</answer>",
    "lenient": "<think>Even crypts.</think><answer>**b**</answer>",
    "bare": "B",
    "unread": "<think>Hard to say.</think><answer>A or B</answer>",
    "cut": "<think>Even crypts and",
    "empty": "",
}

CLEAN = {"image_features": True, "options_eliminated": True, "knowledge_cited": True,
         "definition_violated": False, "contradiction": False, "outdated_criterion": False}


class NoImage:
    sha256 = "0" * 64

    def read(self):
        return b""

    def open(self):
        raise AssertionError("no test opens this image")


def sample(**changes):
    made = {"suite": "s", "task": "path", "id": "1", "group": "g", "question": "What is shown?", "options": OPTIONS,
            "answer_index": 1, "question_type": "Disease Diagnosis", "image": NoImage(),
            "reference": "The crypts are even and goblet cells are preserved."}
    return Sample(**{**made, **changes})


def row(name, text, **changes):
    made = {"suite": "s", "task": "path", "id": name, "group": "g", "condition": "plain", "question": "What is shown?",
            "options": list(OPTIONS), "answer_index": 1, "question_type": "t", "image_sha256": "0" * 64,
            "completion": text, "finish_reason": "stop", "tokens_in": 10, "tokens_out": 20, "latency_s": 0.1,
            "error": None, "reference": "The crypts are even.", "facts": None}
    return {**made, **changes}


def write_rows(path, rows):
    path.write_text("".join(json.dumps(made) + "\n" for made in rows), encoding="utf-8")
    return path


class ScriptedJudge:
    """Events by words of the judged text; counts its calls. `replies` maps words to changed events, None: a failure."""

    def __init__(self, replies=None, wait_s=0.0):
        self.replies = replies or {}
        self.wait_s = wait_s
        self.calls = 0
        self.running = 0
        self.most = 0

    def identity(self):
        return {"backend": "test@1", "replies": sorted(self.replies)}

    async def ask(self, request):
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.wait_s)
        self.running -= 1
        for words, changes in self.replies.items():
            if words in request.context["chain"]:
                if changes is None:
                    return JudgeReply(failure="timeout", reason="no reply in time", calls=1)
                return JudgeReply(model="test", verdict={**CLEAN, **changes}, calls=1, cost_usd=0.5, tokens_in=3,
                                  tokens_out=2, detail={"evidence": dict.fromkeys(changes, "quoted words")})
        if request.expect.kind == "unit":
            return JudgeReply(model="test", verdict=dict.fromkeys(request.expect.names, 0.6), calls=1)
        return JudgeReply(model="test", verdict=CLEAN, calls=1, cost_usd=0.5, tokens_in=3, tokens_out=2)
