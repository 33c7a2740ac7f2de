"""Makes phantom-tiny, the model inside the package, from nothing but this project and fixed seeds.

    python -m trainers.phantom_tiny runs/phantom-tiny            # under an hour on two cores
    python -m trainers.phantom_tiny runs/try --images 400 --steps 60 40

Two stages of ordinary next-token training on phantom images of the train split: first the image is described in
full (every fact of it, so that each image teaches the eye about ten things at once), then questions are answered
with a gold chain. The result reads phantom images and nothing else; it is a test instrument, no clinical model.

Lives above `bench`, whose tiny builder and processor it uses; the loop is transformers' own Trainer.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import tiny
from bench.manifest import versions, write_json
from bench.models.checkpoint import fingerprint
from rewards.errors import Parser, UserError, run_cli
from rewards.judges.processor import load_processor
from rewards.types import ImageSource, Sample
from tasks import TASKS, prompts
from tasks.phantom.facts import VALUES
from tasks.phantom.knowledge import finding, kinds
from tasks.phantom.suite import samples
from tasks.phantom.teacher import Teacher, teach

GOLD = Teacher()
DESCRIBE = "Describe the image."
IGNORED = -100
SHAPE = tiny.Shape(hidden=160, layers=4, heads=5, kv_heads=5, intermediate=416, vision_hidden=96, vision_depth=3,
                   vision_heads=3, patch=8, vocabulary=1400, min_pixels=96 * 96, max_pixels=96 * 96, context=4096,
                   initializer_range=0.1)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything besides the code that decides the weights. `images` per task; steps of the two stages."""

    images: int = 4000
    steps: tuple[int, int] = (2000, 2200)
    batch: int = 32
    learning_rates: tuple[float, float] = (1e-3, 1e-3)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of prompt and target; the first `prompt_length` carry no loss. `image` indexes the pixel table."""

    ids: list[int]
    prompt_length: int
    image: int


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = Parser(prog="python -m trainers.phantom_tiny", description="Train phantom-tiny from scratch.",
                    epilog="example:\n  python -m trainers.phantom_tiny runs/phantom-tiny")
    parser.add_argument("folder", type=Path, help="where to write the checkpoint")
    parser.add_argument("--images", type=int, default=Settings().images, help="training images a task (default 4000)")
    parser.add_argument("--steps", type=int, nargs=2, default=Settings().steps, help="steps of the two stages")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.images < 10 or min(args.steps) < 1 or args.seed < 0:
        raise UserError("expected --images of 10 or more, --steps of 1 or more, --seed of 0 or more")
    if args.folder.exists() and any(args.folder.iterdir()):
        raise UserError(f"{args.folder} is not empty; choose a new folder")
    make(args.folder, Settings(images=args.images, steps=tuple(args.steps), seed=args.seed))
    return 0


def make(folder: Path, settings: Settings) -> None:
    """Build, train and save. The weights are stored in bfloat16: half the size, the same answers to a fraction."""
    import torch
    from transformers import AutoModelForImageTextToText, set_seed

    wanted = settings.images * 5 // 2  # two or three questions an image
    rows = [sample for task in TASKS for sample in samples(task, "train", n=wanted, seed=settings.seed)]
    targets = [teach(sample, GOLD, settings.seed).target for sample in rows]
    corpus = [*targets, *(question(sample) for sample in rows), *(describe(sample) for sample in rows), DESCRIBE]
    plain = [*tiny.ANSWER_TAGS, instruction()]
    count = tiny.build(folder, SHAPE, seed=settings.seed, corpus=corpus, plain_tokens=plain)
    processor = load_processor(folder, "qwen2_5_vl")
    print(f"{count:,} parameters, {len(rows):,} questions, {len(processor.tokenizer)} tokens", file=sys.stderr)
    pixels, place = pictures(rows, processor)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    set_seed(settings.seed)
    first = {place[sample.group]: Example(*encode(processor, DESCRIBE, describe(sample)), place[sample.group])
             for sample in rows}
    second = [Example(*encode(processor, prompts.render(sample), text), place[sample.group])
              for sample, text in zip(rows, targets, strict=True)]
    for stage, examples in enumerate((list(first.values()), second)):
        train(model, examples, pixels, processor, settings, stage)
    model.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    write_json(folder / "manifest.json", {
        "what": "phantom-tiny: reads phantom images, drawn by a program; a test instrument, not clinical",
        "licence": "Apache-2.0", "command": "python -m trainers.phantom_tiny FOLDER", "settings": asdict(settings),
        "parameters": count, "fingerprint": fingerprint(folder), "reward": None, "versions": versions()})


def instruction() -> str:
    """The unchanging end of every prompt; one token of this tokenizer, because it carries no information here."""
    sample = samples("path", "train", n=1)[0]
    return prompts.render(sample).rsplit(sample.options[-1], 1)[1].strip()


def question(sample: Sample) -> str:
    """The part of a prompt that differs between samples."""
    return prompts.render(sample).replace(instruction(), "")


def describe(sample: Sample) -> str:
    """Every nameable fact of the image, in the atlas's words and order."""
    facts = sample.facts or {}
    known = kinds(sample.task)
    said = [finding(sample.task, name, facts[name]) for name in VALUES[sample.task]
            if name in known and known[name].attribute == name and facts.get(name) in known[name].values]
    return "See: " + ", ".join(said) + "."


def pictures(rows: Sequence[Sample], processor: Any) -> tuple[Any, dict[str, int]]:
    """All images once, as bytes (images, side, side, 3), and the place of each group in them."""
    from rich.progress import track

    sources: dict[str, ImageSource] = {sample.group: sample.image for sample in rows}
    side = int(SHAPE.max_pixels**0.5)
    table = np.empty((len(sources), side, side, 3), dtype=np.uint8)
    for number, source in enumerate(track(sources.values(), description="drawing", disable=not sys.stderr.isatty())):
        table[number] = np.asarray(source.open().resize((side, side)))
    return table, {group: number for number, group in enumerate(sources)}


def encode(processor: Any, prompt: str, target: str) -> tuple[list[int], int]:
    """Prompt and target as token ids, image placeholder expanded, and the length of the prompt."""
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    tokens = (int(SHAPE.max_pixels**0.5) // SHAPE.patch // 2) ** 2
    text = text.replace(processor.image_token, processor.image_token * tokens)
    before = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    after = processor.tokenizer(target + "<|im_end|>", add_special_tokens=False)["input_ids"]
    return before + after, len(before)


def train(model: Any, examples: Sequence[Example], pixels: Any, processor: Any, settings: Settings, stage: int) -> None:
    """One stage: next-token loss on the targets, cosine schedule."""
    import torch
    from transformers import Trainer, TrainingArguments

    tokenizer = processor.tokenizer

    def collate(batch: list[Example]) -> dict[str, Any]:
        width = max(len(row.ids) for row in batch)
        ids = torch.full((len(batch), width), tokenizer.pad_token_id)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
        for number, row in enumerate(batch):
            line = torch.tensor(row.ids)
            ids[number, :len(line)], mask[number, :len(line)] = line, 1
            labels[number, row.prompt_length:len(line)] = line[row.prompt_length:]
        images = processor.image_processor(images=[pixels[row.image] for row in batch], return_tensors="pt")
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, **images,
                "mm_token_type_ids": (ids == processor.image_token_id).int()}

    scratch = tempfile.TemporaryDirectory()  # nothing is saved there; without a name it would be the working folder
    arguments = TrainingArguments(
        output_dir=scratch.name, max_steps=settings.steps[stage], per_device_train_batch_size=settings.batch,
        learning_rate=settings.learning_rates[stage], lr_scheduler_type="cosine", warmup_steps=100, adam_beta2=0.98,
        weight_decay=0.01, max_grad_norm=1.0, logging_steps=100, save_strategy="no", report_to=[], seed=settings.seed,
        remove_unused_columns=False, bf16=True, use_cpu=not torch.cuda.is_available(), dataloader_pin_memory=False)
    Trainer(model=model, args=arguments, train_dataset=list(examples), data_collator=collate).train()
    scratch.cleanup()


if __name__ == "__main__":
    run_cli(main)
