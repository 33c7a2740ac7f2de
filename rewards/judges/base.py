"""What a judge is: the request, the reply, the protocol, and the base class a backend author starts from.

A backend writes one attempt; everything around it (cache, limit, retries, ledger, verdicts) is `stack.py`:

    @judge_backend("coin")                          # rewards.judges.registry
    class Coin(JudgeBackend):
        sees_images = True                          # a request with an image is not refused
        async def ask(self, request: JudgeRequest) -> JudgeReply:
            return JudgeReply(text='{"integrity": 1.0, "knowledge": 0.6}', model="coin-1")

Errors of one attempt are `JudgeError`s with a failure name; whether to try again is theirs to say:

    JudgeError            base: failure, retryable, retry_after_s
    └── KeyRefusedError        the endpoint refuses the key: ends the run with one line

Must not import openai, anthropic, torch or transformers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol
from urllib.parse import urlsplit

from rewards.errors import PathVLMError, UserError, suggest
from rewards.types import ImageSource

RESUMABLE = frozenset({
    "budget", "replay-missing", "rate-limited", "overloaded", "server-error", "timeout", "connection", "conflict",
    "bad-response", "backend-error", "bad-image",
})
"""Failures that say nothing about the answer: a resumed run asks again. All others are final for their request."""


@dataclass(frozen=True, slots=True)
class Expect:
    """The verdict a protocol waits for: exactly `names` as keys.

    kind "events": each value is `{"evidence": str, "verdict": "yes" | "no"}`; kind "unit": a number in [0, 1].
    `clamp` lets finite numbers outside [0, 1] be clamped (and noted) instead of refused.
    `rungs` are the ways of reading that are allowed, see `rewards.judges.verdict`. `example` is the reply shown in the
    prompt and `lattice` the only values an honest judge can give (None: any); both serve `rewards.judges.health`.
    """

    kind: Literal["events", "unit"]
    names: tuple[str, ...]
    clamp: bool = False
    rungs: tuple[str, ...] = ("json", "fence", "embedded")
    example: Mapping[str, Any] | None = None
    lattice: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """Everything that can change a judge's reply.

    `system` holds the fixed rules, `user` is exactly one JSON value with the untrusted texts inside, `schema`
    the JSON schema of the reply. `version` names prompt, rubric and arithmetic. `repeat` separates independent
    repetitions of one question. `asks` is 2 when an unusable reply may be asked for once more.
    `context` (facts, options, answer_index, chain, answer, correct) is never sent over a wire; in-process backends
    that set `reads_context` may use it. `label` names the request in messages and in the ledger; `flags` are what
    the injection detector saw in the judged text. Neither changes anything.
    """

    protocol: str
    version: str
    system: str
    user: str
    expect: Expect
    schema: Mapping[str, Any]
    image: ImageSource | None = None
    image_max_side: int = 1568
    max_tokens: int = 1024
    repeat: int = 0
    asks: int = 2
    context: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgeReply:
    """What came back. A backend fills text, finish_reason, model, tokens; the stack adds the rest.

    `verdict` maps criterion names to values (None when `failure` names why there is none). `model` is the id the
    server returned. Tokens and `cost_usd` are None where nobody tells. `calls` counts the attempts sent for this
    reply; one from the cache has 0 calls, costs 0.0 and keeps its tokens. `detail` carries what the backend or
    the reader has to add (evidence, probabilities, rung, clamped).
    """

    text: str = ""
    finish_reason: Literal["stop", "length", "refusal"] = "stop"
    model: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    cached: bool = False
    calls: int = 0
    verdict: Mapping[str, Any] | None = None
    failure: str | None = None
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


class Judge(Protocol):
    """Anything that answers judge requests."""

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        """One reply for one request."""


class JudgeError(PathVLMError):
    """One attempt failed. `failure` is a short name, `retry_after_s` what the server asked for (None: nothing)."""

    def __init__(
        self, failure: str, detail: str = "", *, retryable: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{failure}: {detail}" if detail else failure)
        self.failure = failure
        self.detail = detail
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class JudgeBackend:
    """Base class of backends: stores its arguments, refuses settings it does not know, opens nothing.

    Live objects (clients, models) belong in attributes that start with an underscore: they are created on first
    use and dropped when the judge is pickled for a trainer.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    """Bumped when an in-process backend judges differently, so that old cached replies are not served."""
    accepts: ClassVar[frozenset[str]] = frozenset()
    """Settings this backend honours; any other one is a configuration error, never dropped in silence."""
    needs_model: ClassVar[bool] = False
    sees_images: ClassVar[bool] = False
    """False: a request that carries an image is a configuration error."""
    in_process: ClassVar[bool] = False
    """True: attempts are computed on this machine; no timeout cuts them off and no retry mends them."""
    reads_context: ClassVar[bool] = False
    """True: `JudgeRequest.context` can change the reply, so it is part of the cache key."""

    def __init__(self, model: str = "", base_url: str | None = None, **settings: Any) -> None:
        for key in settings:
            if key not in self.accepts:
                known = ", ".join(sorted(self.accepts)) or "none"
                raise UserError(f"judge backend {self.name!r} has no setting {key!r}{suggest(key, self.accepts)}; "
                                f"it accepts: {known}")
        if self.needs_model and not model:
            raise UserError(f"judge {self.name!r} needs a model: write {self.name}:MODEL")
        if model and not self.needs_model:
            raise UserError(f"judge {self.name!r} takes no model, got {model!r}")
        if base_url is not None and "base_url" not in self.accepts:
            raise UserError(f"judge backend {self.name!r} takes no URL, got {base_url!r}")
        self.model = model
        self.base_url = base_url
        self.settings = settings

    @property
    def endpoint(self) -> str:
        """What the concurrency limit and the cache key are bound to: the base URL, or the place in this process."""
        return self.base_url or f"in-process:{self.name}"

    def payload(self, request: JudgeRequest) -> Mapping[str, Any]:
        """The request as sent, JSON-able, with the image as `sha256:...`; this is what the cache key is made of."""
        return {
            "backend": f"{self.name}@{self.version}",
            "model": self.model,
            "settings": self.settings,
            "system": request.system,
            "user": request.user,
            "schema": request.schema,
            "image": None if request.image is None else f"sha256:{request.image.sha256}",
            "image_max_side": request.image_max_side,
            "max_tokens": request.max_tokens,
        }

    async def prepare(self) -> None:
        """Load what takes long (an SDK, weights); awaited before every attempt, outside its timeout."""

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        """One attempt; never retries, never caches, never reads the verdict.

        Raises:
            JudgeError: this attempt failed.
            UserError: no attempt can succeed (refused key, unknown model).
        """
        raise NotImplementedError(f"judge backend {self.name!r} has no ask()")

    async def aclose(self) -> None:
        """Close what `ask` opened."""

    def identity(self) -> dict[str, Any]:
        """Who judges, for fingerprints and manifests; no key, no concurrency, no path of a cache."""
        return {"backend": f"{self.name}@{self.version}", "model": self.model, "base_url": self.base_url,
                "settings": dict(sorted(self.settings.items()))}

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if not key.startswith("_")}


def plain_url(url: str, who: str) -> str:
    """`url` without a closing slash. Raises `UserError` for one that carries a secret: it goes into key and ledger."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        plain = plain and not (parts.username or parts.password)
    except ValueError:
        plain = False
    if not plain:
        raise UserError(f"the URL of judge {who!r} must be plain http(s)://host[:port]/path, without user, password or "
                        "query; keys come only from the environment")
    return url.rstrip("/")


_SECRET_NAME = re.compile(r"(_API_KEY|_TOKEN|_SECRET|_AUTH_TOKEN)$")


def redact(text: str) -> str:
    """`text` without the value of any key in the environment, cut to one line of 300 characters."""
    for name, value in os.environ.items():
        if len(value) >= 6 and _SECRET_NAME.search(name.upper()):
            text = text.replace(value, "[key]")
    return " ".join(text.split())[:300]
