"""Everything around a backend's one attempt: cache, single flight, limit, retries, ledger, budget, verdict, re-ask.

    judge = Stack(OpenAIJudge("gpt-4o"), StackSettings(cache="cache.sqlite", ledger="ledger.jsonl"))
    reply = await judge.ask(request)            # reply.verdict, or reply.failure with reply.reason
    print(judge.health.warnings(), judge.stopped)

`ask` raises only `UserError` (a refused key, a wrong setting): once, the same one for every request. All other trouble
is a failure on the reply. Picklable: live objects are opened on first use. Must not import a vendor SDK.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from rewards.errors import UserError
from rewards.judges.base import JudgeBackend, JudgeError, JudgeReply, JudgeRequest, redact
from rewards.judges.cache import Cache, MemoryCache, ReplyCache
from rewards.judges.health import Health
from rewards.judges.ledger import Ledger, Spend
from rewards.judges.limit import EndpointLimit, endpoint_limit
from rewards.judges.replies import again, failed, judged, kept, plain, summed
from rewards.judges.retry import Deadline, with_retries
from rewards.judges.settings import StackSettings

_MISSING_SHOWN = 20


@dataclass(slots=True)
class _Flight:
    """One request on its way; equal requests wait for it."""

    done: asyncio.Event = field(default_factory=asyncio.Event)
    reply: JudgeReply | None = None


class Stack:
    """A judge: one backend inside the shared stack. See the module for what `ask` promises.

    `health` measures the verdicts, `spend` counts this run's calls and money, `stopped` says which budget was reached
    (None: none), `missing` counts what a replay could not answer and `missing_labels` names the first of them.
    """

    def __init__(self, backend: JudgeBackend, settings: StackSettings | None = None) -> None:
        self.backend = backend
        self.settings = settings or StackSettings()
        self._reset()

    def _reset(self) -> None:
        settings = self.settings
        self.health = Health(exact=self.backend.reads_context)
        self.spend = Spend(settings.prices, settings.max_usd, settings.max_calls)
        self.stopped: str | None = None
        self.missing = 0
        self.missing_labels: list[str] = []
        self._cache: Cache = ReplyCache(settings.cache, settings.lease_s) if settings.cache else MemoryCache()
        self._ledger = Ledger(settings.ledger)
        self._flights: dict[str, _Flight] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beat: asyncio.Task[None] | None = None
        self._fatal: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"backend": self.backend, "settings": self.settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.backend, self.settings = state["backend"], state["settings"]
        self._reset()

    def __repr__(self) -> str:
        return f"Stack({self.backend.name}:{self.backend.model})"

    def identity(self) -> dict[str, Any]:
        """Who judges; part of a reward's fingerprint."""
        return self.backend.identity()

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        """One reply with a verdict or a named failure; an unusable reply is asked for once more."""
        if request.image is not None and not self.backend.sees_images:
            raise UserError(f"judge {self.backend.name!r} cannot see images; set image = false in the judge settings")
        self.health.observe_request(request.protocol, request.flags)
        reply = judged(await self._once(request), request)
        if reply.failure is not None and not reply.detail.get("no_reply") and request.asks > 1:
            first = reply
            reply = judged(await self._once(again(request, first)), request)
            reply = summed(first, reply)
        if reply.verdict is None:
            self.health.observe_failure(request.protocol, reply.failure or "")
        else:
            expect = request.expect
            self.health.observe_verdict(request.protocol, reply.verdict, example=expect.example,
                                        evidence=reply.detail.get("evidence"), lattice=expect.lattice)
        return reply

    def key(self, request: JudgeRequest) -> str:
        """Content address of a request: what is sent, where to, under which protocol version, which repeat."""
        backend = self.backend
        address: dict[str, Any] = {
            "endpoint": backend.endpoint, "protocol": request.version, "repeat": request.repeat,
            "payload": backend.payload(request),
        }
        if backend.reads_context:
            address["context"] = request.context
        text = json.dumps(address, sort_keys=True, ensure_ascii=False, default=plain)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    async def _once(self, request: JudgeRequest) -> JudgeReply:
        self._enter_loop()
        key = self.key(request)
        while True:
            stored = self._cache.get(key)
            if stored is not None:
                return kept(stored)
            flight = self._flights.get(key)
            if flight is None:
                break
            await flight.done.wait()
            if flight.reply is not None:  # else its asker was cancelled: somebody else takes over
                free = None if flight.reply.failure else 0.0
                return replace(flight.reply, cached=True, calls=0, cost_usd=free)
        if self._fatal is not None:
            raise UserError(self._fatal)
        if self.settings.replay:
            self.missing += 1
            if len(self.missing_labels) < _MISSING_SHOWN:
                self.missing_labels.append(request.label)
            return failed("replay-missing", f"no cached reply for {request.label} ({request.protocol}, "
                                             f"request {key[:12]}); replay asks nobody")
        flight = self._flights[key] = _Flight()
        try:
            flight.reply = await self._claimed(key, request)
            return flight.reply
        finally:
            self._flights.pop(key, None)  # a second event loop may have emptied it
            flight.done.set()

    async def _claimed(self, key: str, request: JudgeRequest) -> JudgeReply:
        """Ask, unless another process does so already: then wait for its reply."""
        wait_s = 0.02
        while not self._cache.claim(key):
            stored = self._cache.get(key)
            if stored is not None:
                return kept(stored)
            await asyncio.sleep(wait_s)
            wait_s = min(0.25, wait_s * 1.5)
        try:
            return await self._ask(key, request)
        finally:
            self._cache.release(key)

    async def _ask(self, key: str, request: JudgeRequest) -> JudgeReply:
        settings, backend = self.settings, self.backend
        limit = endpoint_limit(backend.endpoint, settings.concurrency, processes=settings.processes,
                               adaptive=settings.adaptive)
        deadline = Deadline(settings.deadline_s)
        ceiling = self.spend.ceiling(len(request.system) + len(request.user), request.max_tokens,
                                     request.image is not None)
        sent = 0

        async def attempt(number: int) -> JudgeReply:
            nonlocal sent
            async with limit.slot():
                if self._fatal is not None:
                    raise UserError(self._fatal)
                full = self.spend.reserve(ceiling)
                if full is not None:
                    self.stopped = full
                    raise JudgeError("budget", full)
                sent += 1
                return await self._attempt(key, request, number, deadline, ceiling, limit)

        try:
            reply = await with_retries(attempt, deadline=deadline, max_attempts=settings.max_attempts,
                                       backoff_s=settings.backoff_s)
        except JudgeError as problem:
            return replace(failed(problem.failure, redact(problem.detail)), calls=sent)
        row = {"text": reply.text, "finish_reason": reply.finish_reason, "model": reply.model,
                "tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out, "cost_usd": reply.cost_usd,
                "detail": dict(reply.detail)}
        self._cache.put(key, row)
        return replace(reply, calls=sent, cached=False)

    async def _attempt(
        self, key: str, request: JudgeRequest, number: int, deadline: Deadline, ceiling: float, limit: EndpointLimit
    ) -> JudgeReply:
        """One attempt with its timeout and its line in the ledger."""
        await self.backend.prepare()
        deadline.start()
        started = time.monotonic()
        outcome, model, cost = "interrupted", "", None
        tokens: tuple[int | None, int | None] = (None, None)
        try:
            bound = None if self.backend.in_process else max(0.01, min(self.settings.timeout_s, deadline.left))
            with anyio.fail_after(bound):
                reply = await self.backend.ask(request)
            outcome, model, tokens = "ok", reply.model, (reply.tokens_in, reply.tokens_out)
            limit.succeeded()
            cost = self.spend.cost(*tokens)
            return replace(reply, cost_usd=cost if reply.cost_usd is None else reply.cost_usd)
        except TimeoutError:
            outcome = "timeout"
            raise JudgeError("timeout", f"no complete reply within {time.monotonic() - started:.1f} s",
                             retryable=True) from None
        except JudgeError as problem:
            outcome = problem.failure
            if problem.failure == "rate-limited":
                limit.refused()
            raise
        except UserError as problem:
            outcome = "refused"
            self._fatal = redact(str(problem))
            raise UserError(self._fatal) from None
        except Exception as problem:  # noqa: BLE001 - a fault in an outside backend costs its reply, not the run
            outcome = "backend-error"
            raise JudgeError("backend-error", f"{type(problem).__name__}: {redact(str(problem))}") from None
        finally:
            self.spend.settle(ceiling, *tokens)
            self._ledger.write(
                time=round(time.time(), 3), request=key[:16], label=request.label, protocol=request.protocol,
                repeat=request.repeat, attempt=number, endpoint=self.backend.endpoint, judge=self.backend.model,
                model=model, outcome=outcome, tokens_in=tokens[0], tokens_out=tokens[1], cost_usd=cost,
                latency_s=round(time.monotonic() - started, 4),
            )

    def _enter_loop(self) -> None:
        """Flights and the heartbeat belong to one event loop; a second `asyncio.run` starts with none."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._flights = {}
            self._beat = None
        if self._beat is None and isinstance(self._cache, ReplyCache):
            self._beat = loop.create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.settings.lease_s / 3)
            self._cache.renew()

    async def aclose(self) -> None:
        """Close client, cache and ledger; the judge may be used again afterwards."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        await self.backend.aclose()
        self._cache.close()
        self._ledger.close()

    async def __aenter__(self) -> Stack:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
