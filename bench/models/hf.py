"""The local backend: a transformers checkpoint on this machine, CPU or GPU.

    model = resolve("path/to/checkpoint", Decoding(max_new_tokens=512), Options(batch_size=16))

Requests are sorted by text plus image tokens, prepared in a thread while the model generates, and decoded by
`bench.models.refill` (Qwen2-VL, Qwen2.5-VL) or `bench.models.static` (any other `AutoModelForImageTextToText`).
Image tokens are never truncated: a prompt that does not fit is an error row that says so. `trust_remote_code` stays
off, weights are safetensors. torch and transformers are imported on construction, not with this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.models.base import Decoding, Options, Request, backend
from bench.models.checkpoint import fingerprint, locate, read_config
from bench.models.encode import Feed, Row
from rewards.errors import ImageProblem, UserError
from rewards.judges.processor import QWEN_VL, load_processor
from rewards.types import Completion, ImageSource

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")


@backend("hf")
class HFModel:
    """A vision-language checkpoint loaded with transformers.

    `options.dtype` None means bfloat16 on a GPU that has it, float16 on an older one, float32 on a CPU.
    `options.device` None means the first GPU, else the CPU.
    """

    def __init__(self, ref: str, decoding: Decoding, options: Options) -> None:
        if options.base_url is not None:
            raise UserError(f"--base-url is for API backends, and --model {ref!r} runs on this machine; leave it out")
        self.folder = locate(ref)
        self.ref, self.decoding, self.options = ref, decoding, options
        self.model_type = read_config(self.folder)["model_type"]
        self.processor = load_processor(self.folder, self.model_type, decoding.max_pixels)
        self.fingerprint = fingerprint(self.folder)
        self.engine = self._load()
        tokenizer = self.processor.tokenizer
        tokenizer.padding_side = "left"
        self._special = sorted(set(tokenizer.all_special_tokens) | {getattr(self.processor, "image_token", "<image>")},
                               key=len, reverse=True)
        text_config = self.engine.model.config.get_text_config()
        self.context = int(getattr(text_config, "max_position_embeddings", None) or tokenizer.model_max_length)
        if decoding.max_new_tokens >= self.context:
            raise UserError(f"--max-new-tokens {decoding.max_new_tokens} leaves no room for a question in the context "
                            f"of {self.context} tokens of {ref!r}; expected fewer")
        if self.model_type in QWEN_VL and \
                tokenizer.convert_tokens_to_ids(self.processor.image_token) != self.engine.image_id:
            raise UserError(f"--model {ref!r} has a tokenizer that does not know the image token of its config.json; "
                            "expected tokenizer.json beside the weights")

    def describe(self) -> dict[str, Any]:
        """What the manifest records about the model."""
        model = self.engine.model
        return {"ref": self.ref, "backend": "hf", "model_type": self.model_type, "fingerprint": self.fingerprint,
                "parameters": sum(weight.numel() for weight in model.parameters()), "context": self.context,
                "dtype": str(model.dtype).removeprefix("torch."), "device": str(model.device.type)}

    def render(self, request: Request) -> str:
        """Chat template applied; special tokens that stand in the data are broken up, so that data stay data."""
        text = request.prompt
        for token in self._special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        from jinja2 import TemplateError

        content = [{"type": "text", "text": text}]
        if request.image is not None:
            content.insert(0, {"type": "image"})
        try:
            return str(self.processor.apply_chat_template([{"role": "user", "content": content}],
                                                          add_generation_prompt=True, tokenize=False))
        except (ValueError, TemplateError) as problem:
            raise UserError(f"--model {self.ref!r} has no chat template that works ({problem}); expected an "
                            "instruction-tuned checkpoint with chat_template.jinja") from problem

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """Answers as they finish; see `bench.models.base.Model`."""
        prompts = [self.render(request) for request in requests]
        ids = self.processor.tokenizer(prompts, add_special_tokens=False)["input_ids"] if prompts else []
        lengths = [len(row) + self._image_tokens(request.image) for row, request in zip(ids, requests, strict=True)]
        order = sorted(range(len(requests)), key=lambda index: -lengths[index])
        self.engine.seeds = {index: self._seed(prompts[index], requests[index]) for index in order} \
            if self.decoding.temperature else {}
        if self.model_type in QWEN_VL:
            from bench.models import refill

            with Feed(lambda index: self._row(index, ids[index], requests[index].image), order,
                      ahead=self.options.batch_size) as feed:
                yield from refill.decode(self.engine, feed, self.options.batch_size)
        else:
            from bench.models import static

            yield from static.decode(self.engine, lambda batch: self.prepare(batch, prompts, requests), order,
                                     self.options.batch_size)

    def prepare(self, batch: Sequence[int], prompts: Sequence[str],
                requests: Sequence[Request]) -> tuple[list[int], Any, dict[int, str]]:
        """One padded batch through the checkpoint's own processor; rows whose image fails are errors."""
        usable: list[int] = []
        images: list[Any] = []
        errors: dict[int, str] = {}
        for index in batch:
            source = requests[index].image
            try:
                if source is not None:
                    images.append(source.open())
                usable.append(index)
            except ImageProblem as problem:
                errors[index] = str(problem)
        if not usable:
            return [], None, errors
        inputs = self.processor(text=[prompts[index] for index in usable], images=images or None, padding=True,
                                add_special_tokens=False, return_tensors="pt")
        if int(inputs["attention_mask"].sum(dim=1).max()) + self.decoding.max_new_tokens > self.context:
            if len(usable) > 1:
                fit = [self.prepare([index], prompts, requests) for index in usable]
                errors.update({index: error for _, _, failed in fit for index, error in failed.items()})
                good = [index for answerable, _, _ in fit for index in answerable]
                return (*self.prepare(good, prompts, requests)[:2], errors)
            return [], None, {usable[0]: self._too_long(int(inputs["attention_mask"].sum()))}
        return usable, inputs, errors

    def _row(self, index: int, ids: list[int], image: ImageSource | None) -> Row:
        """One row for `refill`: the image placeholder expanded to the image's own number of tokens."""
        if image is None:
            pixels = grid = None
        else:
            try:
                encoded = self.processor.image_processor(images=[image.open()], return_tensors="pt")
            except (ImageProblem, ValueError) as problem:  # ValueError: an aspect ratio beyond 200
                return Row(index, [], error=str(problem))
            pixels, grid = encoded["pixel_values"], encoded["image_grid_thw"]
            place = ids.index(self.engine.image_id)
            count = int(grid.prod()) // self.processor.image_processor.merge_size**2
            ids = [*ids[:place], *[self.engine.image_id] * count, *ids[place + 1:]]
        if len(ids) + self.decoding.max_new_tokens > self.context:
            return Row(index, [], error=self._too_long(len(ids)))
        return Row(index, ids, pixels, grid)

    def _too_long(self, tokens: int) -> str:
        return (f"the prompt has {tokens} tokens, and {self.decoding.max_new_tokens} new ones do not fit into the "
                f"context of {self.context}; image tokens are never cut, lower --max-pixels")

    def _image_tokens(self, image: ImageSource | None) -> int:
        """Image tokens as far as the file's header tells; for sorting only, so 0 where there is no file to look at."""
        path = getattr(image, "path", None)
        if path is None:
            return 0
        from PIL import Image

        try:
            with Image.open(path) as picture:
                width, height = picture.size
            count = self.processor.image_processor.get_number_of_image_patches(height, width, {})
            return int(count) // getattr(self.processor.image_processor, "merge_size", 1) ** 2
        except (OSError, ValueError, AttributeError, Image.DecompressionBombError):
            return 0

    def _seed(self, prompt: str, request: Request) -> int:
        image = request.image.sha256 if request.image else ""
        digest = hashlib.sha256(f"{self.decoding.seed}\0{prompt}\0{image}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def _load(self) -> Any:
        import torch

        from bench.models.sampling import Engine
        from bench.models.weights import load_model

        device = self._device(torch)
        model = load_model(self.folder, self._dtype(torch, device), f"--model {self.ref!r}")
        return Engine(model.to(device).eval(), self.processor.tokenizer, self.decoding)

    def _device(self, torch: Any) -> torch.device:
        name = self.options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(name)
            torch.zeros(1, device=device).tolist()  # "meta" makes tensors, and cannot read them
        except (RuntimeError, AssertionError) as problem:
            raise UserError(f"--device {name!r} is not usable here ({str(problem).splitlines()[0]}); expected cpu or "
                            "a device that torch sees") from problem
        return device

    def _dtype(self, torch: Any, device: Any) -> torch.dtype:
        name = self.options.dtype
        if name is None:
            name = "float32"
            if device.type == "cuda":
                name = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        if name not in DTYPES:
            raise UserError(f"--dtype {name!r}: expected one of {', '.join(DTYPES)}")
        return getattr(torch, name)
