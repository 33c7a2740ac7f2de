"""The next token and the end of an answer: what both decoding loops share.

Greedy by default. With a temperature every row draws from its own random stream, seeded by the run's seed and the
row's prompt and image, so that an answer depends neither on the batch it sat in nor on where a run was resumed.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import torch

from bench.models.base import Decoding
from rewards.types import Completion

STOP_WINDOW = 16
"""Tokens looked back at for the stop text; `</answer>` has nine characters, so at most nine tokens."""


class Engine:
    """A loaded model with its tokenizer and decoding settings."""

    def __init__(self, model: Any, tokenizer: Any, decoding: Decoding) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.device = model.device
        self.eos_ids = _eos_ids(model, tokenizer)
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self.eos_ids, default=0)
        self.image_id = getattr(model.config, "image_token_id", None)
        self.seeds: dict[int, int] = {}
        self._generators: dict[int, torch.Generator] = {}
        self._closing = {number for token, number in tokenizer.get_vocab().items() if decoding.stop[-1] in token}
        # A tokenizer that makes <think> special would lose the tags that the parser reads.
        self._skip_special = not any("think" in token or "answer" in token for token in tokenizer.all_special_tokens)

    def choose(self, logits: Any, rows: list[tuple[int, int]]) -> list[int]:
        """Next token ids for `logits` (rows, vocabulary); each entry of `rows` is (request index, tokens so far)."""
        if not self.decoding.temperature:
            return logits.argmax(dim=-1).tolist()
        chosen = []
        for (index, so_far), scores in zip(rows, logits.float().cpu(), strict=True):
            if so_far == 0:
                self._generators[index] = torch.Generator().manual_seed(self.seeds.get(index, self.decoding.seed))
            probabilities = _nucleus((scores / self.decoding.temperature).softmax(-1), self.decoding.top_p)
            chosen.append(int(torch.multinomial(probabilities, 1, generator=self._generators[index])))
        return chosen

    def finished(self, ids: list[int]) -> Literal["stop", "length"] | None:
        """Why an answer ends after `ids`, or None while it goes on."""
        if ids[-1] in self.eos_ids:
            return "stop"
        if ids[-1] in self._closing and self.decoding.stop in self.tokenizer.decode(ids[-STOP_WINDOW:]):
            return "stop"
        return "length" if len(ids) >= self.decoding.max_new_tokens else None

    def completion(self, ids: list[int], reason: Literal["stop", "length"], tokens_in: int,
                   started: float) -> Completion:
        """The finished answer; text after the stop text, which a token may carry, is cut."""
        shown = [token for token in ids if token not in self.eos_ids]
        text = self.tokenizer.decode(shown, skip_special_tokens=self._skip_special)
        end = text.find(self.decoding.stop)
        if end >= 0:
            text = text[:end + len(self.decoding.stop)]
        return Completion(text, reason, tokens_in, len(ids), time.perf_counter() - started)


def _nucleus(probabilities: Any, top_p: float) -> Any:
    """Zero all but the smallest set of tokens whose probability reaches `top_p`; `probabilities` is (vocabulary,)."""
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(descending=True)
    beyond = ordered.cumsum(-1) - ordered >= top_p
    return probabilities.index_fill(0, order[beyond], 0.0)


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """End tokens named by generation configuration, model configuration and tokenizer."""
    ids: set[int] = set()
    for value in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        if value is not None:
            ids.update(value if isinstance(value, list) else [value])
    return frozenset(ids)
