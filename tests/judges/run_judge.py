"""A small program that judges `n` answers, for tests that need processes of their own; prints one JSON line at the end.

    python run_judge.py REFERENCE N CACHE LEDGER [concurrency]
"""

import asyncio
import json
import logging
import os
import sys

from rewards.errors import run_cli
from rewards.judges import protocols, resolve
from rewards.types import Completion, Parsed, Sample


def case(n):
    options = ("fat", "carcinoma", "bone")
    sample = Sample("phantom", "path", f"path/{n}", f"g{n}", "Which tissue?", options, 1, "diagnosis", image=None)
    chain = f"Chain {n}: crowded nuclei, A and C are excluded."
    letters = dict.fromkeys(("strict", "letter", "omnimed"), "B")
    return sample, Completion(chain, "stop"), Parsed(chain, "B) carcinoma", True, letters)


async def judge_all(reference, n, cache, ledger, concurrency):
    judge = resolve(reference, cache=cache, ledger=ledger, concurrency=concurrency, timeout_s=30, backoff_s=0.05)
    protocol = protocols.load("events", image=False)
    async with judge:
        judged = await asyncio.gather(*(protocol.judge(judge, *case(i)) for i in range(n)))
    return {
        "values": [one.values for one in judged],
        "failures": [one.failure for one in judged],
        "calls": sum(one.detail["calls"] for one in judged),
        "cached": sum(one.detail["cached"] for one in judged),
    }


def main(argv=None):
    if os.environ.get("JUDGE_TEST_DEBUG"):
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    reference, n, cache, ledger, *rest = sys.argv[1:]
    print(json.dumps(asyncio.run(judge_all(reference, int(n), cache, ledger, int(rest[0]) if rest else 16))))


if __name__ == "__main__":
    run_cli(main)
