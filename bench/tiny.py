"""Builds a small, randomly initialised Qwen2.5-VL from configuration alone: no download, about a million parameters.

    python -m bench.tiny runs/tiny                 # for tests, timings and the first demo
    python -m bench.tiny runs/tiny --seed 7 --hidden 128 --layers 4

The folder is an ordinary checkpoint (safetensors, tokenizer, chat template, preprocessor configuration): transformers,
lm-eval and vLLM read it. It knows nothing; only its shape is that of a real model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.errors import Parser, UserError, run_cli

QWEN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
               "<|image_pad|>", "<|video_pad|>")
ANSWER_TAGS = ("<think>", "</think>", "<answer>", "</answer>")

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "<|im_start|>{{ message['role'] + '\\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)

CORPUS = (
    "Which finding is shown in this image? Options: A) Nuclear staining B) Membranous staining C) No staining",
    "The image shows glands with uniform nuclei. The diagnosis is benign tissue. Answer with the letter and the text.",
    "What imaging technique produced this picture? Fundus photography, computed tomography, dermoscopy, retinal OCT.",
    "Option D is excluded because the margin is smooth and no effusion is seen. 0 1 2 3 4 5 6 7 8 9",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of the network. Defaults give about a million parameters.

    `patch` times two is the side of one image token in pixels; `max_pixels` bounds the resized image's area.
    `initializer_range` is the standard deviation of the initial weights.
    """

    hidden: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 512
    vision_hidden: int = 64
    vision_depth: int = 2
    vision_heads: int = 2
    patch: int = 14
    vocabulary: int = 512
    min_pixels: int = 28 * 28 * 4
    max_pixels: int = 28 * 28 * 16
    context: int = 32_768
    initializer_range: float = 0.02


def build(folder: Path, shape: Shape | None = None, seed: int = 0, corpus: Iterable[str] = CORPUS,
          plain_tokens: Sequence[str] = ANSWER_TAGS) -> int:
    """Write the checkpoint and return its parameter count.

    `corpus` trains the byte-level BPE tokenizer. `plain_tokens` become whole tokens that are not *special*: they stay
    in decoded text, and BPE cannot merge a letter with a neighbouring tag.
    """
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    shape = shape or Shape()

    tokenizer = _tokenizer(shape, corpus, plain_tokens)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in QWEN_TOKENS}
    head_dim = shape.hidden // shape.heads
    section = head_dim // 2
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads, "intermediate_size": shape.intermediate,
            "vocab_size": len(tokenizer), "max_position_embeddings": shape.context,
            "initializer_range": shape.initializer_range, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0,
                                "mrope_section": [section - 2 * (section // 3), section // 3, section // 3]},
            "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": shape.vision_depth, "hidden_size": shape.vision_hidden, "num_heads": shape.vision_heads,
            "intermediate_size": shape.vision_hidden * 2, "out_hidden_size": shape.hidden, "patch_size": shape.patch,
            "window_size": shape.patch * 8, "fullatt_block_indexes": list(range(shape.vision_depth)),
            "initializer_range": shape.initializer_range,
        },
        tie_word_embeddings=True, vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"], image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    save_processor(folder, tokenizer, shape)
    return sum(weight.numel() for weight in model.parameters())


def save_processor(folder: Path, tokenizer: Any, shape: Shape) -> None:
    """Tokenizer and preprocessor configuration in the layout of a stock Qwen2.5-VL folder."""
    tokenizer.save_pretrained(folder)
    images = {
        "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor",
        "size": {"shortest_edge": shape.min_pixels, "longest_edge": shape.max_pixels},
        "patch_size": shape.patch, "temporal_patch_size": 2, "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    _write_json(folder / "preprocessor_config.json", images)
    _write_json(folder / "video_preprocessor_config.json",
                {**images, "image_processor_type": None, "video_processor_type": "Qwen2VLVideoProcessor"})


def _tokenizer(shape: Shape, corpus: Iterable[str], plain_tokens: Sequence[str]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=shape.vocabulary, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    bpe.add_special_tokens([AddedToken(token, special=True) for token in QWEN_TOKENS])
    bpe.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain_tokens])
    return Qwen2TokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None, bos_token=None,
        padding_side="left", chat_template=CHAT_TEMPLATE, model_max_length=shape.context,
        additional_special_tokens=list(QWEN_TOKENS))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = Parser(prog="python -m bench.tiny", description="Build a tiny random Qwen2.5-VL checkpoint.",
                    epilog="example:\n  python -m bench.tiny runs/tiny --seed 0")
    parser.add_argument("folder", type=Path, help="where to write the checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights (default 0)")
    parser.add_argument("--hidden", type=int, default=Shape().hidden, help="width, a multiple of 32 (default 128)")
    parser.add_argument("--layers", type=int, default=Shape().layers, help="text layers (default 3)")
    args = parser.parse_args(argv)
    if args.hidden < 32 or args.hidden % 32:
        raise UserError(f"--hidden {args.hidden}: expected a positive multiple of 32")
    if args.layers < 1:
        raise UserError(f"--layers {args.layers}: expected 1 or more")
    if args.folder.exists() and any(args.folder.iterdir()):
        raise UserError(f"{args.folder} is not empty; choose a new folder")
    count = build(args.folder, Shape(hidden=args.hidden, layers=args.layers), seed=args.seed)
    print(f"{args.folder}: {count:,} parameters, random weights, seed {args.seed}")
    return 0


if __name__ == "__main__":
    run_cli(main)
