"""How fast are judgements? Ours, a bare async loop and the paper's sequential loop on one server of fixed latency.

    python benchmarks/judges.py                          # all rows, about 40 s
    python benchmarks/judges.py --inspect                # also inspect_ai's model_graded_qa, in a venv of its own
    python benchmarks/judges.py --n 200 --latency 0.05   # quick

The server (judge_server.py) runs in a process of its own and speaks the real wire formats, image included. "Ideal" is
ceil(n / concurrency) x latency. The sequential loop is timed on a few calls and scaled; the table says so.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import io
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

import rewards
from rewards.judges import protocols, resolve
from rewards.judges.cache import ReplyCache
from rewards.types import Completion, Parsed, Sample

HERE = Path(__file__).parent
Row = tuple[str, str, str]
Times = tuple[float, float | None]
"""Seconds by the clock and of this process's CPU (None: not measured); the second does not suffer from neighbours."""


class Clock:
    """Both times since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> Times:
        """Seconds since then."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


class Noise:
    """A 224 x 224 JPEG, the size of a PathMMU patch."""

    def __init__(self) -> None:
        out = io.BytesIO()
        Image.effect_noise((224, 224), 60).convert("RGB").save(out, "JPEG", quality=85)
        self._raw = out.getvalue()
        self.sha256 = hashlib.sha256(self._raw).hexdigest()

    def read(self) -> bytes:
        """The bytes."""
        return self._raw

    def open(self) -> Image.Image:
        """The pixels."""
        return Image.open(io.BytesIO(self._raw)).convert("RGB")


IMAGE = Noise()
OPTIONS = ("adipose tissue", "carcinoma", "bone", "smooth muscle")


def case(n: int) -> tuple[Sample, Completion, Parsed]:
    """Answer number `n`: a chain of about 700 characters."""
    chain = f"Case {n}: " + "crowded glands with pink cytoplasm are seen, so option A is excluded; " * 10
    sample = Sample("phantom", "path", f"path/{n}", f"g{n}", "Which tissue is shown?", OPTIONS, 1, "diagnosis", IMAGE)
    letters = dict.fromkeys(("strict", "letter", "omnimed"), "B")
    text = f"<think>{chain}</think><answer>B) carcinoma</answer>"
    return sample, Completion(text, "stop"), Parsed(chain, "B) carcinoma", True, letters)


@contextmanager
def server(latency_s: float, *more: str) -> Iterator[str]:
    """The local server in a process of its own; yields its URL."""
    command = [sys.executable, str(HERE / "judge_server.py"), "--latency", str(latency_s), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def requests_seen(url: str) -> int:
    """How many requests the server has had."""
    import json

    with urllib.request.urlopen(url + "/stats") as reply:
        return int(json.load(reply)["requests"])


async def bounded(judge: Any, protocol: Any, numbers: AsyncIterator[int] | range, width: int) -> int:
    """Judge `numbers` with `width` workers, keeping nothing but the count of usable verdicts."""
    source, good = iter(numbers) if isinstance(numbers, range) else numbers, 0

    async def work() -> None:
        nonlocal good
        for n in source:  # type: ignore[union-attr]
            judged = await protocol.judge(judge, *case(n))
            good += judged.failure is None

    await asyncio.gather(*(work() for _ in range(width)))
    return good


def ours(reference: str, n: int, concurrency: int, folder: Path) -> Times:
    """Times of `n` judgements through the shared stack, with cache and ledger."""

    async def run() -> Times:
        name = reference.partition(":")[0]
        async with resolve(reference, concurrency=concurrency, cache=folder / f"{name}.sqlite",
                           ledger=folder / f"{name}.jsonl") as judge:
            protocol = protocols.load("events")
            await protocol.judge(judge, *case(10**6))  # SDK import and first connection
            clock = Clock()
            good = await bounded(judge, protocol, range(n), concurrency)
            times = clock.stop()
            assert good == n, f"{good} of {n} usable"
            return times

    return asyncio.run(run())


def bare_async(url: str, n: int, concurrency: int) -> Times:
    """Times of the same calls with the SDK and a semaphore: no cache, retries, ledger or verdicts."""
    import openai

    request = protocols.load("events").request(*case(0))
    body = dict(resolve("openai:bench").backend.payload(request))
    data = base64.b64encode(IMAGE.read()).decode()
    body["messages"][1]["content"][0]["image_url"]["url"] = f"data:image/jpeg;base64,{data}"

    async def run() -> Times:
        client = openai.AsyncOpenAI(api_key="none", base_url=url + "/v1", max_retries=0)
        gate = asyncio.Semaphore(concurrency)

        async def one() -> None:
            async with gate:
                await client.chat.completions.create(**body)

        await one()
        clock = Clock()
        await asyncio.gather(*(one() for _ in range(n)))
        times = clock.stop()
        await client.close()
        return times

    return asyncio.run(run())


def sequential(url: str, calls: int) -> float:
    """Seconds a call of a plain loop over the SDK, as the paper's authors do it."""
    import openai

    request = protocols.load("events").request(*case(0))
    body = dict(resolve("openai:bench").backend.payload(request))
    data = base64.b64encode(IMAGE.read()).decode()
    body["messages"][1]["content"][0]["image_url"]["url"] = f"data:image/jpeg;base64,{data}"
    with openai.OpenAI(api_key="none", base_url=url + "/v1") as client:
        client.chat.completions.create(**body)
        started = time.perf_counter()
        for _ in range(calls):
            client.chat.completions.create(**body)
        return (time.perf_counter() - started) / calls


def equal_chains(url: str) -> tuple[int, int]:
    """Calls that 8 equal chains cost, and 8 different ones."""

    async def run() -> tuple[int, int]:
        protocol = protocols.load("events")
        async with resolve(f"openai:bench@{url}/v1") as judge:
            before = requests_seen(url)
            await asyncio.gather(*(protocol.judge(judge, *case(-1)) for _ in range(8)))
            middle = requests_seen(url)
            await asyncio.gather(*(protocol.judge(judge, *case(-2 - n)) for n in range(8)))
            return middle - before, requests_seen(url) - middle

    return asyncio.run(run())


def replay(n: int, folder: Path) -> tuple[Times, list[float]]:
    """Times of `n` cached judgements in replay mode, and resident memory in MiB at 10 %, 50 % and 100 % of them."""
    protocol = protocols.load("events")
    path = folder / "replay.sqlite"
    reference = "openai:bench@http://127.0.0.1:9/v1"
    text = '{' + ", ".join(
        f'"{name}": {{"evidence": "crowded glands", "verdict": "yes"}}' for name in protocol.expect().names) + '}'
    cache, judge = ReplyCache(path), resolve(reference)
    for i in range(n):
        reply = {"text": text, "model": "bench", "tokens_in": 1, "tokens_out": 1}
        cache.put(judge.key(protocol.request(*case(i))), reply)
    cache.close()
    memory: list[float] = []

    async def run() -> Times:
        async with resolve(reference, cache=path, replay=True) as judge:
            await protocol.judge(judge, *case(0))
            clock = Clock()
            done = 0
            for end in (n // 10, n // 2, n):
                good = await bounded(judge, protocol, range(done, end), 64)
                assert good == end - done
                done = end
                memory.append(resident_mib())
            return clock.stop()

    return asyncio.run(run()), memory


def cheap_parts(n: int) -> float:
    """Completions a second of CPU time that the `outcome` reward (format + accuracy) scores."""
    reward = rewards.load("outcome")
    pairs = [case(i)[:2] for i in range(n)]

    async def run() -> float:
        clock = Clock()
        for sample, completion in pairs:
            await reward.score(sample, completion)
        return n / (clock.stop()[1] or 1.0)

    return asyncio.run(run())


def resident_mib() -> float:
    """Resident memory of this process now, in MiB (the peak where /proc is missing)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def inspect_ai(n: int, concurrency: int, latency_s: float, venv: Path) -> float:
    """Seconds for `n` answers scored by inspect_ai's model_graded_qa on the same server."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "inspect_ai", "openai"], check=True)
    with server(latency_s, "--reply", "GRADE: C") as url:
        done = subprocess.run(
            [str(python), str(HERE / "judges_inspect.py"), url, str(n), str(concurrency)],
            capture_output=True, text=True, check=False,
        )
    if done.returncode:
        raise SystemExit(f"inspect_ai failed:\n{done.stderr[-2000:]}{done.stdout[-2000:]}")
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds the server waits")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--replays", type=int, default=10_000)
    parser.add_argument("--inspect", action="store_true", help="also inspect_ai, installed into --venv")
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "pathvlm-inspect-venv")
    args = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "none")
    os.environ.setdefault("ANTHROPIC_API_KEY", "none")
    ideal = math.ceil(args.n / args.concurrency) * args.latency
    rows: list[Row] = []
    what = f"{args.n:,} judgements"

    def timed(name: str, times: Times, note: str = "") -> None:
        wall, cpu = times
        spent = "" if cpu is None else f", CPU of this process {cpu:.2f} s"
        rows.append((name, f"{wall:.2f} s", f"{wall / ideal:.2f}x ideal{spent} {note}".strip()))

    with tempfile.TemporaryDirectory() as temporary, server(args.latency) as url:
        folder = Path(temporary)
        timed(f"ours, OpenAI wire, image: {what}", ours(f"openai:bench@{url}/v1", args.n, args.concurrency, folder))
        timed(f"ours, Anthropic wire, image: {what}", ours(f"anthropic:bench@{url}", args.n, args.concurrency, folder))
        timed(f"bare async SDK with a semaphore: {what}", bare_async(url, args.n, args.concurrency))
        each = sequential(url, 10)
        timed(f"plain loop over the SDK: {what}", (each * args.n, None), f"(10 calls timed, {each * 1000:.0f} ms each)")
        same, different = equal_chains(url)
        rows.append(("8 equal chains", f"{same} call(s)", f"8 different ones: {different}"))
        (wall, cpu), memory = replay(args.replays, folder)
        rows.append((f"cached replay of {args.replays:,}", f"{wall:.2f} s",
                     f"{wall / args.replays * 1e6:.0f} us each, CPU of this process {cpu:.2f} s"))
        shown = " / ".join(f"{mib:.0f}" for mib in memory)
        rows.append(("memory at 10 % / 50 % / 100 % of them", f"{memory[-1] - memory[0]:+.1f} MiB", f"{shown} MiB"))
    rate = cheap_parts(20_000)
    rows.append(("format + accuracy, no judge", f"{rate:,.0f} /s", "completions a second and core"))
    if args.inspect:
        seconds = inspect_ai(args.n, args.concurrency, args.latency, args.venv)
        timed(f"inspect_ai model_graded_qa, no image: {what}", (seconds, None), "(its start-up not counted)")
    print(f"latency {args.latency * 1000:.0f} ms, concurrency {args.concurrency}, ideal {ideal:.2f} s, "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    width = max(len(row[0]) for row in rows)
    for name, value, note in rows:
        print(f"{name:<{width}}  {value:>12}  {note}")


if __name__ == "__main__":
    main()
