"""The local backend inside lm-eval: an `LM` that answers image questions with `bench.models`.

    python -m bench.lm_eval run --model pathvlm --model_args pretrained=CKPT --include_path tasks --tasks path

Same engine, same prompts, same answers as `bench.run`: lm-eval's prompt text is the user's turn, the chat template
is applied by the backend, generation ends at `</answer>` with the tag kept, which the parser needs. Only
`generate_until` is offered; the tasks here ask nothing else.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import Any

import torch
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from bench.models.base import Decoding, Options, Request, resolve
from rewards.errors import UserError
from rewards.types import ImageSource

PLACEHOLDER = "<image>"


class Visual:
    """A PIL image from lm-eval as an `ImageSource`; the hash is of its PNG encoding."""

    def __init__(self, picture: Any) -> None:
        self._picture = picture

    @property
    def sha256(self) -> str:
        """Hex digest of `read()`."""
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        """The picture as PNG."""
        buffer = io.BytesIO()
        self.open().save(buffer, "PNG")
        return buffer.getvalue()

    def open(self) -> Any:
        """The picture as RGB."""
        return self._picture.convert("RGB")


@register_model("pathvlm")
class PathVLM(LM):
    """lm-eval's view of a model reference. `max_new_tokens` is used where a task does not set `max_gen_toks`."""

    MULTIMODAL = True  # lm-eval asks for this before it hands over images

    def __init__(self, pretrained: str = "", batch_size: int | str = 16, device: str | None = None,
                 dtype: str | None = None, max_new_tokens: int = 1024,
                 max_pixels: int | None = None, seed: int = 0, **unknown: Any) -> None:
        super().__init__()
        unknown.pop("max_batch_size", None)
        if unknown:
            raise UserError(f"unknown model argument {sorted(unknown)}; expected pretrained, batch_size, device, "
                            "dtype, max_new_tokens, max_pixels, seed")
        if not pretrained:
            raise UserError("no model given: add pretrained=CKPT to --model_args")
        if device == "cuda:0" and not torch.cuda.is_available():
            device = None  # lm-eval 0.4.13 says cuda:0 where nobody named a device; its own models do the same
        try:
            batch = int(batch_size)
            self.decoding = Decoding(int(max_new_tokens), seed=int(seed), max_pixels=max_pixels and int(max_pixels))
        except ValueError as problem:
            raise UserError(f"a model argument is no whole number ({problem}); check batch_size, max_new_tokens, "
                            "max_pixels and seed") from problem
        self.model: Any = resolve(pretrained, self.decoding, Options(batch, device or None, dtype))

    @property
    def tokenizer_name(self) -> str:
        """Fingerprint of the model; lm-eval keys its request cache with it."""
        return str(self.model.fingerprint)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The user's turn as it is: the backend applies the model's own template, once."""
        return "\n\n".join(turn["content"] for turn in chat_history)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Name of what is applied, for lm-eval's log."""
        return "applied by the pathvlm backend" if chat_template else ""

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers in the order of `requests`. Raises UserError where a row could not be answered.

        lm-eval has no missing values: a row that failed would count as wrong, so the whole call fails and names it;
        `bench.run` keeps going and reports such rows apart.
        """
        prepared = [_request(instance.args) for instance in requests]
        settings = {_decoding(self.decoding, instance.args[1]) for instance in requests}
        if len(settings) > 1:
            raise UserError("tasks with different generation settings cannot share one lm-eval run; run them apart")
        if settings:
            self.model.decoding = self.model.engine.decoding = settings.pop()
        answers: dict[int, str] = {}
        for index, completion in tqdm(self.model.generate(prepared), total=len(prepared), disable=disable_tqdm):
            if completion.error:
                raise UserError(f"request {index} could not be answered: {completion.error}; "
                                "python -m bench.run goes on past such rows and reports them")
            answers[index] = completion.text
            self.cache_hook.add_partial("generate_until", requests[index].args[:2], completion.text)
        return [answers[index] for index in range(len(prepared))]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Not offered. Raises UserError."""
        raise UserError("the pathvlm backend answers generate_until tasks only; use lm-eval's hf-multimodal for others")

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Not offered. Raises UserError."""
        raise UserError("the pathvlm backend answers generate_until tasks only; use lm-eval's hf-multimodal for others")


def _request(args: tuple[Any, ...]) -> Request:
    visuals = args[2].get("visual", []) if len(args) > 2 else []
    if len(visuals) > 1:
        raise UserError(f"a question with {len(visuals)} images; this backend takes one")
    image: ImageSource | None = None
    if visuals:
        image = getattr(visuals[0], "source", None) or Visual(visuals[0])
    return Request(args[0].replace(PLACEHOLDER, "", 1).lstrip(), image)


def _decoding(base: Decoding, settings: dict[str, Any]) -> Decoding:
    """lm-eval's generation arguments; `until` is the bench's own stop text whatever a task says."""
    if settings.get("do_sample") or float(settings.get("temperature") or 0) > 0:
        return replace(base, temperature=float(settings.get("temperature") or 1.0),
                       top_p=float(settings.get("top_p") or 1.0),
                       max_new_tokens=int(settings.get("max_gen_toks", base.max_new_tokens)))
    return replace(base, max_new_tokens=int(settings.get("max_gen_toks", base.max_new_tokens)))
