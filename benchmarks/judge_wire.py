"""The wire formats of OpenAI chat completions and Anthropic messages, as a server checks them, and made-up verdicts.

    user, schema, has_image = read_openai(json.loads(body))        # RefusedError for what the vendor would refuse
    verdict(schema, user)                                           # decided by the user message alone

Used by judge_server.py. Standard library only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

_MAGIC = {"image/png": b"\x89PNG\r\n", "image/jpeg": b"\xff\xd8\xff", "image/webp": b"RIFF"}
_LATTICE = (1.0, 0.6, 0.2, 0.0)


class RefusedError(Exception):
    """The request would be refused with `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def digest(*parts: object) -> int:
    """A number that depends on the parts alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def verdict(schema: dict[str, Any], user: str) -> Any:
    """A value of the form `schema`, decided by the user message alone."""
    quote = " ".join(str(json.loads(user).get("reasoning", "")).split()[:6]) if user.startswith("{") else ""

    def fill(node: dict[str, Any], path: str) -> Any:
        if "enum" in node:
            return node["enum"][digest(user, path) % len(node["enum"])]
        if node.get("type") == "object":
            return {name: fill(child, f"{path}/{name}") for name, child in node.get("properties", {}).items()}
        if node.get("type") == "number":
            return _LATTICE[digest(user, path) % len(_LATTICE)]
        return quote if node.get("type") == "string" else None

    return fill(schema, "")


def check(condition: bool, message: str) -> None:
    """HTTP 400 unless the condition holds."""
    if not condition:
        raise RefusedError(400, message)


def _check_image(media: str, data: str) -> None:
    check(media in _MAGIC, f"unsupported media type {media!r}")
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise RefusedError(400, "image data is not base64") from None
    check(raw.startswith(_MAGIC[media]), f"image data is no {media}")


def read_openai(body: dict[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """User text, schema and whether there is an image. Raises for what the vendor would refuse."""
    messages = body.get("messages")
    check(isinstance(body.get("model"), str) and isinstance(messages, list) and bool(messages), "model and messages")
    texts, image = [], False
    for message in messages:
        check(message.get("role") in ("system", "user", "assistant"), f"unknown role {message.get('role')!r}")
        content = message.get("content")
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "image_url":
                head, _, data = part["image_url"]["url"].partition(";base64,")
                check(head.startswith("data:") and bool(data), "image_url is no data URL")
                _check_image(head.removeprefix("data:"), data)
                image = True
            else:
                check(part["type"] == "text" and isinstance(part["text"], str), "unknown content part")
                if message["role"] == "user":
                    texts.append(part["text"])
    form = body.get("response_format", {})
    if form:
        check(form.get("type") == "json_schema" and "schema" in form.get("json_schema", {}), "response_format")
    return "\n".join(texts), form.get("json_schema", {}).get("schema", {}), image


def read_anthropic(body: dict[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """User text, schema and whether there is an image. Raises for what the vendor would refuse."""
    known = {"model", "messages", "max_tokens", "system", "output_config", "metadata", "stop_sequences", "stream"}
    check(set(body) <= known, f"unexpected fields {sorted(set(body) - known)}")
    check(isinstance(body.get("max_tokens"), int) and body["max_tokens"] > 0, "max_tokens: field required")
    check(isinstance(body.get("system", ""), str) and bool(body.get("messages")), "system or messages")
    texts, image = [], False
    for message in body["messages"]:
        check(message.get("role") in ("user", "assistant"), f"unknown role {message.get('role')!r}")
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "image":
                check(part["source"].get("type") == "base64", "image source")
                _check_image(part["source"].get("media_type", ""), part["source"].get("data", ""))
                image = True
            else:
                check(part["type"] == "text" and isinstance(part["text"], str), "unknown content block")
                texts.append(part["text"])
    form = body.get("output_config", {}).get("format", {})
    if form:
        check(form.get("type") == "json_schema" and "schema" in form, "output_config.format")
    return "\n".join(texts), form.get("schema", {}), image
