"""`openai:MODEL[@URL]`: chat completions of OpenAI or of any server that speaks them (vLLM, llama.cpp, ...).

    OPENAI_API_KEY=... python -m bench.run --judge openai:gpt-4o ...
    python -m bench.run --judge openai:Qwen/Qwen2.5-VL-7B-Instruct@http://127.0.0.1:8000/v1 ...

The key comes from OPENAI_API_KEY; a server on another URL may need none. The SDK is imported on first use.
`create` with a JSON schema, not `parse`: that one loses text and usage on refusal or truncation (openai 3.x).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rewards.errors import UserError
from rewards.judges.base import JudgeBackend, JudgeError, JudgeReply, JudgeRequest, plain_url, redact
from rewards.judges.clients import ClientPool
from rewards.judges.image import encode
from rewards.judges.registry import judge_backend
from rewards.judges.retry import status_error

_OFFICIAL = "https://api.openai.com/v1"


@judge_backend("openai")
class OpenAIJudge(JudgeBackend):
    """Settings: temperature, top_p, seed, reasoning_effort (sent only when set), json_schema (default true)."""

    accepts = frozenset({"base_url", "temperature", "top_p", "seed", "reasoning_effort", "json_schema"})
    needs_model = True
    sees_images = True

    _clients: ClientPool | None = None

    @property
    def endpoint(self) -> str:
        """The base URL: the reference's, else OPENAI_BASE_URL, else the vendor's."""
        return plain_url(self.base_url or os.environ.get("OPENAI_BASE_URL") or _OFFICIAL, self.name)

    def payload(self, request: JudgeRequest) -> Mapping[str, Any]:
        """The body of the request, with the image by its hash."""
        content: Any = request.user
        if request.image is not None:
            picture = f"sha256:{request.image.sha256}:{request.image_max_side}"
            content = [
                {"type": "image_url", "image_url": {"url": picture}},
                {"type": "text", "text": request.user},
            ]
        # The vendor's newer models refuse max_tokens; older compatible servers know nothing else.
        cap = "max_completion_tokens" if self.endpoint == _OFFICIAL else "max_tokens"
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": content}],
            cap: request.max_tokens,
            **{key: value for key, value in self.settings.items() if key != "json_schema"},
        }
        if self.settings.get("json_schema", True):
            schema = {"name": request.protocol, "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    async def prepare(self) -> None:
        """Import the SDK and read the key."""
        if self._clients is None:
            self._clients = ClientPool(self._client)
        self._clients.warm()

    def _client(self) -> Any:
        import openai

        key = os.environ.get("OPENAI_API_KEY")
        if not key and self.endpoint == _OFFICIAL:
            raise UserError("judge openai: OPENAI_API_KEY is not set; keys come only from the environment")
        # The stack retries and bounds the whole attempt, slow drips included: neither is left to the SDK.
        return openai.AsyncOpenAI(api_key=key or "none", base_url=self.endpoint, max_retries=0, timeout=None)

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        """One attempt."""
        await self.prepare()
        assert self._clients is not None
        import openai

        body: dict[str, Any] = dict(self.payload(request))
        if request.image is not None:
            media, data = await encode(request.image, request.image_max_side)
            body["messages"][1]["content"][0]["image_url"]["url"] = f"data:{media};base64,{data}"
        try:
            # As extra_body, which goes out as it is: the SDK (3.54) walks typed arguments by their annotations, and
            # that would be a third of the CPU time of a call.
            with self._clients.take() as client:
                answer = await client.chat.completions.create(model=self.model, messages=[], extra_body=body)
        except openai.APIStatusError as problem:
            words = said(problem.body) or problem.message
            raise refused(self, problem.status_code, words, problem.response.headers) from None
        except openai.APITimeoutError:
            raise JudgeError("timeout", "the server did not answer in time", retryable=True) from None
        except openai.APIConnectionError as problem:
            raise JudgeError("connection", str(problem.__cause__ or problem), retryable=True) from None
        except (openai.APIResponseValidationError, ValueError) as problem:
            raise JudgeError("bad-response", f"no JSON: {type(problem).__name__}", retryable=True) from None
        return _reply(answer)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._clients is not None:
            await self._clients.aclose()


def refused(backend: JudgeBackend, status: int, message: str, headers: Mapping[str, str]) -> JudgeError:
    """The failure for an HTTP status. Raises `UserError` for what no attempt can mend."""
    words = redact(message)
    if status in (401, 403):
        raise UserError(f"{backend.endpoint} refuses the key of judge {backend.name}:{backend.model} (HTTP {status}); "
                        f"set {backend.name.upper()}_API_KEY to a valid one. The server says: {words}")
    if status == 404:
        raise UserError(f"{backend.endpoint} knows no model {backend.model!r}, or is no such endpoint (HTTP 404). "
                        f"The server says: {words}")
    return status_error(status, words, headers)


def _reply(answer: Any) -> JudgeReply:
    """Read a chat completion; what is not one (HTML, an empty body, another schema) is a bad response."""
    try:
        choice = answer.choices[0]
        text, declined = choice.message.content, getattr(choice.message, "refusal", None)
        finish, model, usage = choice.finish_reason, answer.model, answer.usage
    except (AttributeError, TypeError, IndexError):
        raise JudgeError("bad-response", "the body is no chat completion", retryable=True) from None
    if not isinstance(text, str | None) or not isinstance(model, str):
        raise JudgeError("bad-response", "the body is no chat completion", retryable=True)
    refusal = bool(declined) or finish == "content_filter"
    return JudgeReply(
        text=text or "",
        finish_reason="refusal" if refusal else "length" if finish == "length" else "stop",
        model=model,
        tokens_in=count(usage, "prompt_tokens"),
        tokens_out=count(usage, "completion_tokens"),
    )


def count(usage: Any, name: str) -> int | None:
    """A token count of the vendor's usage record, None when it is not there; the SDKs do not validate it."""
    value = getattr(usage, name, None)
    return value if isinstance(value, int) else None


def said(body: Any) -> str | None:
    """The sentence in a vendor's error body (OpenAI's SDK has unwrapped "error" already), None without one."""
    inner = body.get("error", body) if isinstance(body, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else None
    return message if isinstance(message, str) else None
