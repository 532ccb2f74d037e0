"""Ollama's generate: the call. https://docs.ollama.com/api/generate"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langwright.errors import Unsupported
from langwright.wire.ask import Ask
from langwright.wire.body import BadBody, parse
from langwright.wire.ollama.options import CallBody, OllamaAsk, call_fields


class GenerateBody(CallBody):
    ACCEPTED: ClassVar[Mapping[str, object]] = {
        **CallBody.ACCEPTED,
        "context": ([],),
        "suffix": "",
        "template": "",
    }

    images: list[Any] | None = None
    prompt: str | None = None
    raw: bool | None = None
    system: str | None = None


def read(raw: bytes, *, lenient: bool = False) -> OllamaAsk:
    """The call; without a prompt the model is only loaded. Raises `BadBody`."""
    body, unheeded = parse(raw, GenerateBody, lenient=lenient)
    if body.images:
        raise BadBody("images: they are not read.", "images")
    if not body.prompt:
        return body.ask(unheeded)
    if body.raw:
        if body.system:
            raise BadBody("system: a raw prompt has none.", "system")
        return body.ask(unheeded, text=body.prompt)
    system = [{"role": "system", "content": body.system}] if body.system else []
    return body.ask(unheeded, messages=[*system, {"role": "user", "content": body.prompt}])


def write(ask: Ask) -> dict[str, Any]:
    """The body that asks for a text to go on, as it is. What the dialect has no room for is left
    out: see `Backend.capabilities`.

    Raises `Unsupported` for what is no text.
    """
    if ask.request.text is None:
        raise Unsupported("Ollama's generate needs a text.", remedy="Give a text.")
    return {**call_fields(ask), "prompt": ask.request.text, "raw": True}
