"""Speed and memory of the local backend, side by side in one run: bench.run, a bare transformers loop, lm-eval.

    python benchmarks/local_backend.py                      # about six minutes on two cores
    python benchmarks/local_backend.py --samples 64 --rounds 1

Same checkpoint (a random one that the script builds), prompts, images and answers for all three; their turns are
interleaved, models are loaded beforehand, CPU seconds of the whole process are counted from reading the data to the
metrics. `bench.run` includes its journal, parsing, intervals and the result table; the bare loop only generates.
Answers are compared too. Prints a Markdown table; nothing here is a test.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["LMEVAL_HASHMM"] = "0"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from PIL import Image

import tasks
from bench import aggregate, tiny
from bench.controls import present
from bench.generate import generate, plan
from bench.journal import Journal
from bench.models.base import Decoding, Options, resolve
from rewards.judges.processor import load_processor
from tasks import prompts


def checkpoint(folder: Path, varied: bool) -> Path:
    """A random checkpoint. `varied`: extra end tokens make its greedy answers end anywhere between 3 and 256 tokens."""
    tiny.build(folder, tiny.Shape(initializer_range=0.3), seed=1, plain_tokens=())  # no tag that ends an answer early
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text())
    settings["eos_token_id"] = [*settings["eos_token_id"], *range(40, 48)] if varied else [settings["eos_token_id"][1]]
    path.write_text(json.dumps(settings))
    return folder


def data(folder: Path, count: int, side: int) -> Path:
    """`count` drawn images with a question each, in PathMMU's layout."""
    (folder / "pathmmu" / "images").mkdir(parents=True)
    random, rows = np.random.default_rng(0), []
    findings = ["Glands", "Necrosis", "Inflammation", "Normal tissue"]
    for number in range(count):
        pixels = random.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / "pathmmu" / "images" / f"{number}.jpg", quality=90)
        rows.append({"No": number, "img": f"{number}.jpg", "question": f"What does field {number} show?",
                     "options": [f"{letter}) {text}" for letter, text in zip("ABCD", findings, strict=True)],
                     "answer": f"{'ABCD'[number % 4]}) {findings[number % 4]}",
                     "explanation": ""})
    content = {"PubMed": {"test": rows}}
    (folder / "pathmmu" / "data.json").write_text(json.dumps(content))
    return folder


def ours(model: Any, source: Path, decoding: Decoding) -> list[str]:
    """What `bench.run` does once its model stands."""
    samples = tasks.load("path", source)
    with tempfile.TemporaryDirectory() as folder:
        with Journal(Path(folder) / "samples.jsonl") as journal:
            items = plan(present("plain", samples, 0), model, decoding, prompts.VERSION)
            generate(model, items, journal, quiet=True)
            journal.finish([item.key for item in items])
        aggregate.write_results(Path(folder) / "samples.jsonl", Path(folder) / "results.csv", model="random")
        with (Path(folder) / "samples.jsonl").open() as lines:
            return [json.loads(line)["completion"] for line in lines]


def bare(model: Any, processor: Any, source: Path, batch_size: int, tokens: int) -> list[str]:
    """Batches through processor and `model.generate`, in file order, as a careful script would."""
    samples = tasks.load("path", source)
    texts: list[str] = []
    with torch.inference_mode():
        for start in range(0, len(samples), batch_size):
            batch = samples[start:start + batch_size]
            chats = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompts.render(s)}]}]
                     for s in batch]
            rendered = [processor.apply_chat_template(c, add_generation_prompt=True, tokenize=False) for c in chats]
            inputs = processor(text=rendered, images=[s.image.open() for s in batch], padding=True, return_tensors="pt")
            out = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
            texts += [decoded(processor, model, row) for row in out[:, inputs["input_ids"].shape[1]:].tolist()]
    return texts


def decoded(processor: Any, model: Any, ids: list[int]) -> str:
    """Text up to the first end token."""
    ends = set(model.generation_config.eos_token_id)
    kept = list(itertools.takewhile(lambda token: token not in ends, ids))
    return str(processor.tokenizer.decode(kept, skip_special_tokens=True))


def harness(lm: Any, source: Path, batch_size: int, tokens: int) -> list[str]:
    """lm-eval's own evaluator with its own hf-multimodal model on our YAML task."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(Path(tasks.__file__).parent), metadata={"data": str(source)})
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        found = simple_evaluate(model=lm, tasks=["path"], task_manager=manager, apply_chat_template=True,
                                gen_kwargs={"max_gen_toks": tokens}, bootstrap_iters=0, log_samples=True)
    rows = sorted(found["samples"]["path"], key=lambda row: row["doc_id"])
    return [row["resps"][0][0] for row in rows]


def stock(folder: Path, batch_size: int) -> Any:
    """lm-eval's model class; the processor is ours only because the stock one needs torchvision."""
    import transformers
    from lm_eval.models.hf_vlms import HFMultimodalLM

    transformers.AutoProcessor.from_pretrained = lambda *a, **k: load_processor(folder, "qwen2_5_vl")  # type: ignore[method-assign]
    return HFMultimodalLM(pretrained=str(folder), batch_size=batch_size, device="cpu", dtype="float32", max_images=1)


def cpu(work: Callable[[], list[str]]) -> tuple[float, list[str]]:
    """CPU seconds of all threads of this process while `work` runs, and what it returned."""
    started = time.process_time()
    texts = work()
    return time.process_time() - started, texts


def compare(folder: Path, source: Path, count: int, batch_size: int, tokens: int, rounds: int,
            with_harness: bool) -> dict[str, float]:
    """Median samples per CPU second of each contender; their answers must agree."""
    decoding = Decoding(max_new_tokens=tokens)
    model = resolve(str(folder), decoding, Options(batch_size=batch_size, device="cpu", dtype="float32"))
    processor = load_processor(folder, "qwen2_5_vl")
    processor.tokenizer.padding_side = "left"
    contenders: dict[str, Callable[[], list[str]]] = {
        "bench.run": lambda: ours(model, source, decoding),
        "bare loop": lambda: bare(model.engine.model, processor, source, batch_size, tokens),
    }
    if with_harness:
        lm = stock(folder, batch_size)
        contenders["hf-multimodal"] = lambda: harness(lm, source, batch_size, tokens)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    texts: dict[str, list[str]] = {}
    for turn in range(rounds + 1):
        for name, work in contenders.items():
            spent, texts[name] = cpu(work)
            if turn:  # the first turn warms up
                seconds[name].append(spent)
    for name, found in texts.items():
        same = sum(a == b for a, b in zip(found, texts["bench.run"], strict=True))
        if same != len(found):
            print(f"  note: {name} agrees with bench.run on {same} of {len(found)} answers", file=sys.stderr)
    return {name: count / statistics.median(values) for name, values in seconds.items()}


def peak(arguments: list[str]) -> float:
    """Peak resident memory in MB of a `bench.run` process."""
    process = subprocess.Popen([sys.executable, "-m", "bench.run", *arguments], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(process.stderr.read().decode() if process.stderr else "bench.run failed")
    return usage.ru_maxrss / 1024


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        fixed, varied = checkpoint(root / "fixed", False), checkpoint(root / "varied", True)
        source = data(root / "data", args.samples, 224)
        print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {args.samples} samples of "
              f"224 x 224, {args.rounds} rounds, medians of samples per CPU second\n")
        print("| answers | batch | bench.run | bare loop | hf-multimodal | / bare | / hf-multimodal |")
        print("|---|---|---|---|---|---|---|")
        cases = (("fixed, 32 tokens", fixed, 16, 32), ("fixed, 32 tokens", fixed, 1, 32),
                 ("3 to 256 tokens", varied, 16, 256))
        for label, folder, batch_size, tokens in cases:
            found = compare(folder, source, args.samples, batch_size, tokens, args.rounds, label.startswith("fixed"))
            stock_speed = found.get("hf-multimodal")
            cells = [label, batch_size, f"{found['bench.run']:.1f}", f"{found['bare loop']:.1f}",
                     "" if stock_speed is None else f"{stock_speed:.1f}",
                     f"{found['bench.run'] / found['bare loop']:.2f}",
                     "" if stock_speed is None else f"{found['bench.run'] / stock_speed:.2f}"]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        few, many = data(root / "few", 3, 1024), data(root / "many", 300, 1024)
        common = ["--model", str(fixed), "--tasks", "path", "--max-new-tokens", "8", "--quiet"]
        memory = [statistics.median(peak([*common, "--data", str(folder), "--out", str(root / f"{folder.name}{turn}")])
                                    for turn in range(args.rounds)) for folder in (few, many)]
        print(f"\npeak memory of bench.run: {memory[0]:.0f} MB for 3 images of 1024 x 1024, {memory[1]:.0f} MB for 300 "
              f"(+{memory[1] - memory[0]:.0f} MB)")
        times = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "bench.run", "--help"], stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - started)
        print(f"bench.run --help: {statistics.median(times):.2f} s")


if __name__ == "__main__":
    main()
