"""`anthropic:MODEL[@URL]`: the Messages API of Anthropic.

    ANTHROPIC_API_KEY=... python -m bench.run --judge anthropic:claude-sonnet-4-5 ...

anthropic 2.x has no temperature and no seed: asking for one is a configuration error. Determinism comes from a pinned
model id, the cache, and repeats with an agreement statistic. The SDK is imported on first use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rewards.errors import UserError
from rewards.judges.base import JudgeBackend, JudgeError, JudgeReply, JudgeRequest, plain_url
from rewards.judges.clients import ClientPool
from rewards.judges.image import encode
from rewards.judges.openai import count, refused, said
from rewards.judges.registry import judge_backend

_OFFICIAL = "https://api.anthropic.com"


@judge_backend("anthropic")
class AnthropicJudge(JudgeBackend):
    """Settings: effort (low, medium, high, xhigh, max; sent only when set), json_schema (default true)."""

    accepts = frozenset({"base_url", "effort", "json_schema"})
    needs_model = True
    sees_images = True

    _clients: ClientPool | None = None

    @property
    def endpoint(self) -> str:
        """The base URL: the reference's, else ANTHROPIC_BASE_URL, else the vendor's."""
        return plain_url(self.base_url or os.environ.get("ANTHROPIC_BASE_URL") or _OFFICIAL, self.name)

    def payload(self, request: JudgeRequest) -> Mapping[str, Any]:
        """The body of the request, with the image by its hash."""
        content: list[dict[str, Any]] = [{"type": "text", "text": request.user}]
        if request.image is not None:
            picture = f"sha256:{request.image.sha256}:{request.image_max_side}"
            source = {"type": "base64", "media_type": "", "data": picture}
            content.insert(0, {"type": "image", "source": source})
        body: dict[str, Any] = {
            "model": self.model,
            "system": request.system,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": request.max_tokens,
        }
        config: dict[str, Any] = {}
        if self.settings.get("json_schema", True):
            config["format"] = {"type": "json_schema", "schema": request.schema}
        if "effort" in self.settings:
            config["effort"] = self.settings["effort"]
        if config:
            body["output_config"] = config
        return body

    async def prepare(self) -> None:
        """Import the SDK and read the key."""
        if self._clients is None:
            self._clients = ClientPool(self._client)
        self._clients.warm()

    def _client(self) -> Any:
        import anthropic

        key = os.environ.get("ANTHROPIC_API_KEY")
        if not key and self.endpoint == _OFFICIAL:
            raise UserError("judge anthropic: ANTHROPIC_API_KEY is not set; keys come only from the environment")
        # The stack retries and bounds the whole attempt, slow drips included: neither is left to the SDK.
        return anthropic.AsyncAnthropic(api_key=key or "none", base_url=self.endpoint, max_retries=0, timeout=None)

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        """One attempt."""
        await self.prepare()
        assert self._clients is not None
        import anthropic

        body: dict[str, Any] = dict(self.payload(request))
        if request.image is not None:
            media, data = await encode(request.image, request.image_max_side)
            body["messages"][0]["content"][0]["source"].update(media_type=media, data=data)
        try:
            # As extra_body, which goes out as it is: the SDK (2.12) walks typed arguments by their annotations, and
            # that would be a third of the CPU time of a call.
            with self._clients.take() as client:
                answer = await client.messages.create(
                    model=self.model, max_tokens=request.max_tokens, messages=[], extra_body=body
                )
        except anthropic.APIStatusError as problem:
            words = said(problem.body) or problem.message
            raise refused(self, problem.status_code, words, problem.response.headers) from None
        except anthropic.APITimeoutError:
            raise JudgeError("timeout", "the server did not answer in time", retryable=True) from None
        except anthropic.APIConnectionError as problem:
            raise JudgeError("connection", str(problem.__cause__ or problem), retryable=True) from None
        except (anthropic.APIResponseValidationError, ValueError) as problem:
            raise JudgeError("bad-response", f"no JSON: {type(problem).__name__}", retryable=True) from None
        return _reply(answer)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._clients is not None:
            await self._clients.aclose()


def _reply(answer: Any) -> JudgeReply:
    """Read a message; what is not one (HTML, an empty body, another schema) is a bad response."""
    try:
        text = "".join(block.text for block in answer.content if block.type == "text")
        stop, model, usage = answer.stop_reason, answer.model, answer.usage
    except (AttributeError, TypeError):
        raise JudgeError("bad-response", "the body is no message", retryable=True) from None
    if not isinstance(model, str) or not isinstance(stop, str):
        raise JudgeError("bad-response", "the body is no message", retryable=True)
    tokens_in = count(usage, "input_tokens")
    cached = sum(count(usage, f"cache_{kind}_input_tokens") or 0 for kind in ("creation", "read"))
    cut = stop in ("max_tokens", "model_context_window_exceeded")
    return JudgeReply(
        text=text,
        finish_reason="refusal" if stop == "refusal" else "length" if cut else "stop",
        model=model,
        tokens_in=None if tokens_in is None else tokens_in + cached,
        tokens_out=count(usage, "output_tokens"),
    )
