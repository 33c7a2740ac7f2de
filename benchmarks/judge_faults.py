"""What becomes of judgements when 30 % of all answers go wrong: both vendors' wires, a dozen kinds of faults.

Eleven kinds (429, 5xx, resets, hangs, drips, cut or foreign bodies) are no replies: they are tried again until one
comes. A refusal (and with --harder a cut or a foreign verdict) is a whole reply that was paid: it gets one re-ask, so
the share of answers that stays missing is about the square of its share of the replies; the table says what to expect.

    python benchmarks/judge_faults.py                    # 1,000 judgements each, about a minute
    python benchmarks/judge_faults.py --harder           # also whole replies with a cut or foreign verdict

Every score is compared with the one that a server without faults gives. "Asked again after a whole reply" counts
requests that the server had already answered completely: it must be 0.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from judge_server import DELIVERED, FAULTS, JudgeServer
from judges import case

from rewards.judges import protocols, resolve

WIRES = {"openai": "openai:bench@{url}/v1", "anthropic": "anthropic:bench@{url}"}


def judge_all(reference: str, n: int, **settings: Any) -> list[Any]:
    """`n` judgements."""

    async def run() -> list[Any]:
        protocol = protocols.load("events")
        async with resolve(reference, concurrency=48, **settings) as judge:
            return list(await asyncio.gather(*(protocol.judge(judge, *case(i)) for i in range(n))))

    return asyncio.run(run())


def main() -> None:
    """Measure and print a table for each wire."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000)
    parser.add_argument("--faults", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--harder", action="store_true", help="also replies with a cut or a foreign verdict")
    args = parser.parse_args()
    kinds = FAULTS if args.harder else tuple(kind for kind in FAULTS if kind not in DELIVERED or kind == "refusal")
    os.environ.setdefault("OPENAI_API_KEY", "none")
    os.environ.setdefault("ANTHROPIC_API_KEY", "none")
    for name, wire in WIRES.items():
        with JudgeServer() as server:
            truth = judge_all(wire.format(url=server.url), args.n)
        faulty = JudgeServer(faults=args.faults, kinds=kinds, seed=args.seed)
        with tempfile.TemporaryDirectory() as temporary, faulty as server:
            started = time.perf_counter()
            judged = judge_all(wire.format(url=server.url), args.n, timeout_s=3, backoff_s=0.1,
                               cache=Path(temporary) / "cache.sqlite")
            seconds = time.perf_counter() - started
            stats = server.stats()
        equal = sum(one.values is not None and one.values == true.values
                    for one, true in zip(judged, truth, strict=True))
        missing = Counter(one.failure for one in judged if one.values is None)
        wrong = args.n - equal - sum(missing.values())
        print(f"{name}: {args.n} judgements in {seconds:.1f} s, {stats['requests']} requests")
        print(f"  equal to the run without faults  {equal}  ({100 * equal / args.n:.2f} %)")
        print(f"  wrong                            {wrong}")
        whole = sum(stats["outcomes"].get(kind, 0) for kind in DELIVERED)
        share = whole / (whole + stats["outcomes"]["ok"])
        print(f"  missing, by reason               {dict(missing) or 'none'}  "
              f"({100 * share:.1f} % of the replies held no verdict; expected missing {args.n * share**2:.0f})")
        print(f"  asked again after a whole reply  {stats['asked_after_delivery']}")
        print(f"  faults met                       {stats['outcomes']}")


if __name__ == "__main__":
    main()
