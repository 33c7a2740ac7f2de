"""A local server of fixed latency that speaks the real wire formats: OpenAI chat completions and Anthropic messages.

    python benchmarks/judge_server.py --latency 0.2 --faults 0.3        # prints its URL; /stats tells what it saw

It checks requests as the vendors do (roles, parts, base64 images, schemas, keys) and answers any JSON schema with a
verdict that depends only on the user message, so that a run with faults can be compared with one without. A fault
depends on the request body and on how often it has come, not on timing. Loopback only; for tests and timings.
Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import threading
from collections import Counter
from typing import Any

from judge_wire import RefusedError, check, digest, read_anthropic, read_openai, verdict

FAULTS = (
    "429", "429-retry-after", "500", "529", "reset", "hang", "drip", "truncated-body", "truncated-verdict", "refusal",
    "html", "empty", "wrong-envelope", "wrong-verdict",
)
"""All kinds."""

DELIVERED = ("truncated-verdict", "refusal", "wrong-verdict")
"""Whole (paid) replies without a verdict: they get one re-ask; the other kinds are tried until they succeed."""

_MAX_BODY = 32 * 1024 * 1024


class JudgeServer:
    """One server in a thread of its own; `with JudgeServer(latency_s=0.2) as server: server.url`."""

    def __init__(
        self, latency_s: float = 0.0, faults: float = 0.0, kinds: tuple[str, ...] = FAULTS, seed: int = 0,
        key: str | None = None, retry_after_s: float = 0.2, port: int = 0, reply: str | None = None,
    ) -> None:
        self.latency_s, self.faults, self.kinds, self.seed = latency_s, faults, kinds, seed
        self.key, self.retry_after_s, self.port, self.reply = key, retry_after_s, port, reply
        self.requests = self.images = self.asked_after_delivery = self.in_flight = self.most_in_flight = 0
        self.seen: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        """The last 20 request bodies, for tests of the wire format."""
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)

    @property
    def url(self) -> str:
        """Base URL without a path; OpenAI clients want `/v1` behind it."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> JudgeServer:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def stats(self) -> dict[str, Any]:
        """What the server has seen."""
        return {
            "requests": self.requests, "distinct": len(self.seen), "delivered": sum(self.delivered.values()),
            "asked_after_delivery": self.asked_after_delivery, "images": self.images,
            "most_in_flight": self.most_in_flight, "outcomes": dict(sorted(self.outcomes.items())),
        }

    async def serve(self) -> None:
        """Serve until told to stop."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await self._connection(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
                pass
            finally:
                connections.discard(task)
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            length = int(headers.get("content-length", 0))
            if length > _MAX_BODY:
                return
            raw = await reader.readexactly(length)
            if path == "/stats":
                await _send(writer, 200, json.dumps(self.stats()))
                continue
            self.requests += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                if not await self._answer(method, path, headers, raw, writer):
                    return
            finally:
                self.in_flight -= 1

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], raw: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False when the connection is of no more use."""
        anthropic = path.endswith("/messages")
        try:
            if method != "POST" or path not in ("/v1/chat/completions", "/v1/messages"):
                raise RefusedError(404, f"no such path {path}")
            # anthropic 2.x sends a bearer token as OpenAI does; older ones x-api-key
            given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
            if self.key is not None and given != self.key:
                raise RefusedError(401, f"Incorrect API key provided: {given}")
            if anthropic:
                check("anthropic-version" in headers, "anthropic-version: header is required")
            body = json.loads(raw)
            user, schema, image = (read_anthropic if anthropic else read_openai)(body)
        except RefusedError as problem:
            self.outcomes[str(problem.status)] += 1
            kind = {401: "authentication_error", 404: "not_found_error"}.get(problem.status, "invalid_request_error")
            error: dict[str, Any] = {"error": {"type": kind, "message": str(problem)}}
            await _send(writer, problem.status, json.dumps({"type": "error", **error} if anthropic else error))
            return True
        self.bodies = [*self.bodies[-19:], body]
        self.images += image
        name = hashlib.sha256(raw).hexdigest()
        self.seen[name] += 1
        self.asked_after_delivery += name in self.delivered
        fault = self._fault(name)
        self.outcomes[fault or "ok"] += 1
        if fault in ("429", "429-retry-after", "500", "529", "reset"):
            if fault == "reset":
                writer.transport.abort()
                return False
            status = int(fault[:3])
            after = {"Retry-After": f"{self.retry_after_s:g}"} if fault == "429-retry-after" else {}
            await _send(writer, status, json.dumps({"error": {"type": "overloaded_error", "message": fault}}), after)
            return True
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if fault == "hang":
            await asyncio.sleep(3600)
        text = self._reply(anthropic, body["model"], user, schema, fault)
        if fault is None or fault in DELIVERED:
            await _send(writer, 200, text)
            self.delivered[name] += 1
            return True
        return await _broken(writer, fault, text)

    def _fault(self, name: str) -> str | None:
        draw = digest(self.seed, name, self.seen[name])
        if (draw % 10_000) / 10_000 >= self.faults:
            return None
        return self.kinds[(draw // 10_000) % len(self.kinds)]

    def _reply(self, anthropic: bool, model: str, user: str, schema: dict[str, Any], fault: str | None) -> str:
        """The body of a 200 answer."""
        text = self.reply if self.reply is not None else json.dumps(verdict(schema, user))
        stop, declined = "stop", None
        if fault == "truncated-verdict":
            text, stop = text[: len(text) // 2], "length"
        elif fault == "wrong-verdict":
            text = '{"overall": "fine"}'
        elif fault == "refusal":
            text, declined = "", "I cannot help with that."
        tokens = (len(user) // 4, len(text) // 4)
        if anthropic:
            stop = "refusal" if declined else {"stop": "end_turn", "length": "max_tokens"}[stop]
            content = [{"type": "text", "text": text}] if text else []
            return json.dumps({
                "id": "msg_1", "type": "message", "role": "assistant", "model": f"{model}-served", "content": content,
                "stop_reason": stop, "stop_sequence": None,
                "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]},
            })
        message = {"role": "assistant", "content": text or None, "refusal": declined}
        return json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": f"{model}-served",
            "choices": [{"index": 0, "message": message, "finish_reason": stop, "logprobs": None}],
            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
        })


async def _send(
    writer: asyncio.StreamWriter, status: int, text: str, headers: dict[str, str] | None = None,
    media: str = "application/json",
) -> None:
    raw = text.encode()
    lines = [f"HTTP/1.1 {status} x", f"content-type: {media}", f"content-length: {len(raw)}",
             *(f"{name}: {value}" for name, value in (headers or {}).items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)
    await writer.drain()


async def _broken(writer: asyncio.StreamWriter, fault: str, text: str) -> bool:
    """A 200 answer that is no use; False when the connection is of no more use."""
    if fault == "html":
        await _send(writer, 200, "<html><body>Bad gateway</body></html>", media="text/html")
    elif fault == "empty":
        await _send(writer, 200, "")
    elif fault == "wrong-envelope":
        await _send(writer, 200, '{"detail": "queued", "choices": [], "content": null}')
    elif fault == "truncated-body":
        await _send(writer, 200, text[: len(text) // 2])
    else:  # drip: headers at once, then a byte now and then, for longer than anybody waits
        raw = text.encode()
        head = f"HTTP/1.1 200 x\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
        writer.write(head.encode())
        for byte in raw:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.5)
        return False
    return True


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Local judge server for tests and timings (loopback only)")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds before an answer")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that go wrong, in [0, 1]")
    parser.add_argument("--reply", help="answer every request with this text")
    parser.add_argument("--key", help="refuse every other key")
    args = parser.parse_args()
    server = JudgeServer(latency_s=args.latency, faults=args.faults, port=args.port, key=args.key,
                         reply=args.reply)

    async def run() -> None:
        task = asyncio.create_task(server.serve())
        while server.port == 0 or server._loop is None:
            await asyncio.sleep(0.01)
        print(server.url, flush=True)
        await task

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        print(json.dumps(server.stats()))


if __name__ == "__main__":
    main()
