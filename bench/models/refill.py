"""Decoding for Qwen2-VL and Qwen2.5-VL in which finished rows make room for new ones.

A static batch runs until its longest answer ends; with reasoning models most of its rows idle by then. Here a
finished row leaves the key-value cache at once, and as soon as a quarter of the places is free, new rows are
prefilled and join the running ones, padded on the left to a common length. Greedy answers in float32 are those of
`model.generate`, whatever the batch size; a test holds both.

    for index, completion in decode(engine, feed, width=16): ...

The place where this model's position scheme (M-RoPE) is known: every forward pass gets explicit positions, because
the model's own bookkeeping (`rope_deltas`) belongs to one batch that never changes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from bench.models.encode import Feed, Row
from bench.models.sampling import Engine
from rewards.types import Completion

REFILL_SHARE = 4


@dataclass(slots=True)
class _Running:
    """A row being answered; `position` is that of its next token, `started` a perf_counter time in seconds."""

    index: int
    tokens_in: int
    position: int
    started: float
    ids: list[int] = field(default_factory=list)


class _Batch:
    """The running rows and their shared cache: mask (batch, length), keys and values (batch, heads, length, dim)."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.rows: list[_Running] = []
        self.cache: Any = None
        self.mask: Any = None

    def add(self, rows: list[Row]) -> Any:
        """Prefill `rows` and join them to the running ones; returns their first logits (new rows, vocabulary)."""
        started = time.perf_counter()
        inputs, following = self._prompts(rows)
        out = self.engine.model(**inputs, use_cache=True, logits_to_keep=1)
        self._join(out.past_key_values, inputs["attention_mask"])
        self.rows += [_Running(row.index, len(row.ids), position, started)
                      for row, position in zip(rows, following, strict=True)]
        return out.logits[:, -1]

    def step(self) -> Any:
        """Feed every running row its newest token; returns logits (batch, vocabulary)."""
        device = self.mask.device
        newest = torch.tensor([[row.ids[-1]] for row in self.rows], device=device)
        positions = torch.tensor([[row.position] for row in self.rows], device=device)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], dim=1)
        out = self.engine.model(input_ids=newest, attention_mask=self.mask, use_cache=True, logits_to_keep=1,
                                position_ids=positions[None].expand(3, -1, -1), past_key_values=self.cache)
        for row in self.rows:
            row.position += 1
        return out.logits[:, -1]

    def keep(self, places: list[int]) -> None:
        """Drop every row that is not in `places`, and the padding that nobody needs any more."""
        self.rows = [self.rows[place] for place in places]
        if not places:
            self.cache = self.mask = None
            return
        chosen = torch.tensor(places, device=self.mask.device)
        self.mask = self.mask[chosen]
        start = int(self.mask.any(dim=0).to(torch.uint8).argmax())
        self.mask = self.mask[:, start:]
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[chosen, :, start:], layer.values[chosen, :, start:]

    def _prompts(self, rows: list[Row]) -> tuple[dict[str, Any], list[int]]:
        engine, width = self.engine, max(len(row.ids) for row in rows)
        ids = torch.tensor([[engine.pad_id] * (width - len(row.ids)) + row.ids for row in rows], device=engine.device)
        mask = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows], device=engine.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
        seen = [row for row in rows if row.pixels is not None]
        if seen:
            grid = torch.cat([row.grid for row in seen])
            inputs["pixel_values"] = torch.cat([row.pixels for row in seen]).to(engine.device, engine.model.dtype)
            inputs["image_grid_thw"] = grid.to(engine.device)
            positions, _ = engine.model.model.get_rope_index(
                ids, mm_token_type_ids=(ids == engine.image_id).int(), image_grid_thw=inputs["image_grid_thw"],
                attention_mask=mask)
        else:
            positions = (mask.cumsum(1) - 1).clamp(min=0)[None].expand(3, -1, -1)
        inputs["position_ids"] = positions
        following = (positions.amax(dim=0) * mask).amax(dim=1) + 1
        return inputs, following.tolist()

    def _join(self, cache: Any, mask: Any) -> None:
        if self.cache is None:
            self.cache, self.mask = cache, mask
            return
        length = max(self.mask.shape[1], mask.shape[1])
        self.mask = torch.cat([_pad(self.mask, length, 1), _pad(mask, length, 1)])
        for ours, theirs in zip(self.cache.layers, cache.layers, strict=True):
            ours.keys = torch.cat([_pad(ours.keys, length, 2), _pad(theirs.keys, length, 2)])
            ours.values = torch.cat([_pad(ours.values, length, 2), _pad(theirs.values, length, 2)])


def _pad(tensor: Any, length: int, axis: int) -> Any:
    """Zeros on the left of `axis` up to `length`; masked, so their content is never read."""
    missing = length - tensor.shape[axis]
    if not missing:
        return tensor
    shape = list(tensor.shape)
    shape[axis] = missing
    return torch.cat([tensor.new_zeros(shape), tensor], dim=axis)


@torch.inference_mode()
def decode(engine: Engine, feed: Feed, width: int) -> Iterator[tuple[int, Completion]]:
    """Answer every row of `feed`, at most `width` at a time.

    Out of memory halves the number of places and starts the rows in flight again; with a single row in flight it is
    that row's error.
    """
    batch = _Batch(engine)
    while batch.rows or not feed.empty:
        free = width - len(batch.rows)
        new: list[Row] = []
        try:
            if not feed.empty and (not batch.rows or free * REFILL_SHARE >= width):
                for row in feed.take(free):
                    if row.error:
                        yield row.index, Completion("", "error", error=row.error)
                    else:
                        new.append(row)
            if new:
                started = len(batch.rows)
                logits = batch.add(new)
                yield from _advance(batch, logits, started)
            if batch.rows:
                yield from _advance(batch, batch.step(), 0)
        except (torch.OutOfMemoryError, RuntimeError) as problem:
            if not out_of_memory(problem):
                raise
            flight = list(dict.fromkeys([row.index for row in batch.rows] + [row.index for row in new]))
            batch = _Batch(engine)
            release(engine.device)
            if len(flight) == 1:
                yield flight[0], Completion("", "error", error="out of memory with this row alone in the batch")
            else:
                width = max(1, len(flight) // 2)
                feed.put_back(flight)


def out_of_memory(problem: BaseException) -> bool:
    """True for CUDA's error and for the CPU allocator's, which is a plain RuntimeError."""
    return isinstance(problem, torch.OutOfMemoryError) or "allocate memory" in str(problem)


def release(device: Any) -> None:
    """Hand cached blocks back, so that the smaller batch finds room."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()


def _advance(batch: _Batch, logits: Any, first: int) -> Iterator[tuple[int, Completion]]:
    """Give rows from place `first` on their next token; yield and drop those that are finished."""
    rows = batch.rows[first:]
    done: set[int] = set()
    tokens = batch.engine.choose(logits, [(row.index, len(row.ids)) for row in rows])
    finished: list[tuple[int, Completion]] = []
    for place, (row, token) in enumerate(zip(rows, tokens, strict=True), start=first):
        row.ids.append(token)
        reason = batch.engine.finished(row.ids)
        if reason:
            done.add(place)
            finished.append((row.index, batch.engine.completion(row.ids, reason, row.tokens_in, row.started)))
    yield from finished  # before the cache is touched: an out-of-memory there must not lose them
    if done:
        batch.keep([place for place in range(len(batch.rows)) if place not in done])
