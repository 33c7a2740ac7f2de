"""Decoding through `model.generate` for every architecture whose cache the bench does not rearrange itself.

    for index, completion in decode(engine, processor, prompts, images, order, width=16): ...

Slower than `bench.models.refill` where answer lengths differ, and right for any vision-language model that
transformers generates with.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from bench.models.refill import out_of_memory, release
from bench.models.sampling import Engine
from rewards.types import Completion

Prepare = Callable[[Sequence[int]], tuple[list[int], Any, dict[int, str]]]
"""Indices of a batch -> (indices that can be answered, processor output, error by index)."""


@torch.inference_mode()
def decode(engine: Engine, prepare: Prepare, order: Sequence[int], width: int) -> Iterator[tuple[int, Completion]]:
    """Answer the requests in `order`, `width` at a time, preparing the next batch while one is generated.

    With a temperature one at a time: `model.generate` draws a whole batch from one random stream, and an answer must
    not depend on which rows it sat with.
    """
    if engine.decoding.temperature:
        width = 1
    todo = deque(order)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode") as pool:
        upcoming = pool.submit(prepare, _next(todo, width))
        while True:
            indices, inputs, errors = upcoming.result()
            upcoming = pool.submit(prepare, _next(todo, width))
            for index, error in errors.items():
                yield index, Completion("", "error", error=error)
            try:
                if indices:
                    yield from _answer(engine, indices, inputs)
                elif not errors:
                    return
            except (torch.OutOfMemoryError, RuntimeError) as problem:
                if not out_of_memory(problem):
                    raise
                release(engine.device)
                if len(indices) == 1:
                    yield indices[0], Completion("", "error", error="out of memory with this row alone in the batch")
                    continue
                width = max(1, len(indices) // 2)
                ahead, _, failed = upcoming.result()
                todo.extendleft(reversed([*indices, *ahead, *failed]))
                upcoming = pool.submit(prepare, _next(todo, width))


def _next(todo: deque[int], width: int) -> list[int]:
    return [todo.popleft() for _ in range(min(width, len(todo)))]


def _answer(engine: Engine, indices: list[int], inputs: Any) -> Iterator[tuple[int, Completion]]:
    started = time.perf_counter()
    decoding = engine.decoding
    prompt_length = inputs["input_ids"].shape[1]
    inputs = inputs.to(engine.device, engine.model.dtype)

    def ended(ids: Any, scores: Any, **_: Any) -> Any:
        rows = ids[:, prompt_length:].tolist()
        return torch.tensor([engine.finished(row) is not None for row in rows], device=ids.device)

    if decoding.temperature:
        torch.manual_seed(engine.seeds[indices[0]])
    out = engine.model.generate(
        **inputs, max_new_tokens=decoding.max_new_tokens, do_sample=bool(decoding.temperature),
        temperature=decoding.temperature or None, top_p=decoding.top_p if decoding.temperature else None, top_k=None,
        repetition_penalty=1.0, pad_token_id=engine.pad_id, eos_token_id=sorted(engine.eos_ids),
        stopping_criteria=[ended])
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    for index, row, tokens_in in zip(indices, out[:, prompt_length:].tolist(), lengths, strict=True):
        ids, reason = row, None
        for end in range(1, len(row) + 1):
            reason = engine.finished(row[:end])
            if reason:
                ids = row[:end]
                break
        yield index, engine.completion(ids, reason or "length", tokens_in, started)
