"""`local:CKPT`: a transformers checkpoint on this machine as judge, batched.

    python -m bench.run --judge local:./checkpoint ...

`verdicts = "choice"` (default): evidence is generated, each verdict chosen among the values that the schema allows.
`verdicts = "logprobs"`: no evidence; yes and no are compared as continuations, their probabilities are recorded.
Requests that arrive together are answered in one batch. Qwen2-VL and Qwen2.5-VL see the image; for any other
checkpoint a protocol that sends one is a configuration error (set image = false in the judge settings). A folder is
identified by the hash of its files. torch loads on first use.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from rewards.errors import ImageProblem, UserError
from rewards.judges.base import JudgeBackend, JudgeError, JudgeReply, JudgeRequest
from rewards.judges.constrained import Filled, LocalModel, template
from rewards.judges.processor import QWEN_VL
from rewards.judges.registry import judge_backend

_CHOICES: Mapping[str, tuple[str, ...]] = {"verdicts": ("choice", "logprobs"), "dtype": ("auto", "float32", "bfloat16")}
_DECISIVE = (".safetensors", ".json", ".jinja", ".txt", ".model")
_GATHER_S = 0.01
"""How long a batch waits for company; requests of a run arrive within a millisecond of each other."""


@judge_backend("local")
class LocalJudge(JudgeBackend):
    """Settings: verdicts, batch_size (8), evidence_tokens (32), device (a GPU if there is one), dtype (auto)."""

    accepts = frozenset({"verdicts", "batch_size", "evidence_tokens", "device", "dtype"})
    needs_model = True
    in_process: ClassVar[bool] = True

    _model: LocalModel | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _lock: asyncio.Lock
    _waiting: list[tuple[JudgeRequest, Any, asyncio.Future[JudgeReply]]]
    _runner: asyncio.Task[None] | None = None

    def __init__(self, model: str = "", base_url: str | None = None, **settings: Any) -> None:
        super().__init__(model, base_url, **settings)
        for key, allowed in _CHOICES.items():
            if settings.get(key, allowed[0]) not in allowed:
                raise UserError(f"judge local: {key} is {settings[key]!r}, expected one of {', '.join(allowed)}")
        for key, least in (("batch_size", 1), ("evidence_tokens", 0)):
            if not isinstance(settings.get(key, least), int) or settings.get(key, least) < least:
                raise UserError(f"judge local: {key} is {settings[key]!r}, expected a whole number of at least {least}")

    @cached_property
    def sees_images(self) -> bool:  # type: ignore[override]  # depends on the checkpoint, not on the class
        """Whether the checkpoint is of a kind whose images this backend knows how to place."""
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(self.model, trust_remote_code=False).model_type in QWEN_VL
        except (OSError, ValueError):
            return True  # loading will say what is wrong with it

    @cached_property
    def _weights(self) -> str | None:
        """SHA-256 over the files of a checkpoint folder, None for a hub id."""
        folder = Path(self.model)
        if not folder.is_dir():
            return None
        total = hashlib.sha256()
        for path in sorted(path for path in folder.iterdir() if path.suffix in _DECISIVE):
            with path.open("rb") as file:
                total.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()};".encode())
        return total.hexdigest()

    def payload(self, request: JudgeRequest) -> Mapping[str, Any]:
        """What decides the reply: the weights, the texts, how verdicts are made; not the speed settings."""
        making = {key: value for key, value in self.settings.items() if key not in ("batch_size", "device")}
        whole = super().payload(request)
        model = self.model if self._weights is None else ""
        lattice = request.expect.lattice
        return {**whole, "model": model, "settings": making, "weights": self._weights, "lattice": lattice}

    def identity(self) -> dict[str, Any]:
        """Weights instead of the place they lie in."""
        making = {key: value for key, value in self.settings.items() if key not in ("batch_size", "device")}
        return {**super().identity(), "settings": dict(sorted(making.items())), "weights": self._weights}

    async def prepare(self) -> None:
        """Load the checkpoint, once, in a thread."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lock, self._waiting, self._runner = loop, asyncio.Lock(), [], None
        async with self._lock:
            if self._model is None:
                device, dtype = self.settings.get("device"), self.settings.get("dtype", "auto")
                self._model = await asyncio.to_thread(LocalModel, self.model, device, dtype)

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        """Join the next batch."""
        await self.prepare()
        future: asyncio.Future[JudgeReply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, await asyncio.to_thread(_picture, request), future))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        """Answer batch after batch until nobody waits."""
        while self._waiting:
            await asyncio.sleep(_GATHER_S)
            first = self._waiting[0][0] if self._waiting else None
            batch = [one for one in self._waiting if first is not None and _kind(one[0]) == _kind(first)]
            batch = batch[: self.settings.get("batch_size", 8)]
            self._waiting = [one for one in self._waiting if all(one is not other for other in batch)]
            alive = [one for one in batch if not one[2].done()]
            if not alive:
                continue
            try:
                replies = await asyncio.to_thread(self._answer, [one[0] for one in alive], [one[1] for one in alive])
            except Exception as problem:  # noqa: BLE001 - out of memory and the like belong to this batch alone
                for _, _, future in alive:
                    if not future.done():
                        future.set_exception(problem)
                continue
            for (_, _, future), reply in zip(alive, replies, strict=True):
                if not future.done():
                    future.set_result(reply)

    def _answer(self, requests: list[JudgeRequest], pictures: list[Any]) -> list[JudgeReply]:
        """One batch, in a thread; either all of its requests carry a picture or none does."""
        assert self._model is not None
        model, first = self._model, requests[0]
        evidence = self.settings.get("verdicts", "choice") == "choice"
        tokens = self.settings.get("evidence_tokens", 32) if evidence else 0
        images = [picture for picture in pictures if picture is not None]
        prompts = [model.prompt(request.system, request.user, image=bool(images)) for request in requests]
        pieces = template(first.schema, first.expect.lattice)
        return [self._reply(one) for one in model.fill(prompts, pieces, tokens, images)]

    def _reply(self, filled: Filled) -> JudgeReply:
        assert self._model is not None
        return JudgeReply(
            text=filled.text, model=f"local:{self._model.name}", tokens_in=filled.tokens_in,
            tokens_out=filled.tokens_out, detail={"probabilities": filled.probabilities},
        )

    async def aclose(self) -> None:
        """Stop the batcher; the model stays for the next use."""
        if self._runner is not None and self._loop is asyncio.get_running_loop():
            self._runner.cancel()
        self._runner = None


def _kind(request: JudgeRequest) -> str:
    """Requests of one kind share a template, and all or none of them an image."""
    return f"{request.version}|{json.dumps(request.schema)}|{request.image is not None}"


def _picture(request: JudgeRequest) -> Any:
    """The decoded image, bounded in size, None without one. Raises `JudgeError` "bad-image"."""
    if request.image is None:
        return None
    try:
        picture = request.image.open()
    except (OSError, ImageProblem) as problem:
        raise JudgeError("bad-image", f"{type(problem).__name__}: {problem}") from None
    picture.thumbnail((request.image_max_side, request.image_max_side))
    return picture
