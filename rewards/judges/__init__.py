"""Judges: language models (or rules) that read a chain of thought and answer named questions about it.

    judge = rewards.judges.resolve("openai:gpt-4o", cache="cache.sqlite", ledger="ledger.jsonl", concurrency=32)
    protocol = rewards.judges.protocols.load("events", show="reference")
    judgement = await protocol.judge(judge, sample, completion, parsed)

A judge reference is `rules`, `scripted:FILE`, `openai:MODEL[@URL]`, `anthropic:MODEL[@URL]` or `local:CKPT`; outside
packages add names through the entry-point group `pathvlm_bench.judges`. Keys come only from the environment.
Importing this package imports no vendor SDK and no tensor library.
"""

from rewards.judges import protocols
from rewards.judges.base import RESUMABLE, Expect, Judge, JudgeBackend, JudgeError, JudgeReply, JudgeRequest
from rewards.judges.registry import judge_backend, names
from rewards.judges.resolve import resolve

__all__ = [
    "RESUMABLE",
    "Expect",
    "Judge",
    "JudgeBackend",
    "JudgeError",
    "JudgeReply",
    "JudgeRequest",
    "judge_backend",
    "names",
    "protocols",
    "resolve",
]
