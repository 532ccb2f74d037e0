"""Gemini's embeddings: https://ai.google.dev/api/embeddings"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from langwright.errors import LangwrightError
from langwright.wire.ask import EmbedAsk
from langwright.wire.body import ANY, parse
from langwright.wire.gemini.contents import Content, GeminiBody, text_of


class EmbedBody(GeminiBody):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"model": ANY}

    content: Content


class BatchBody(GeminiBody):
    requests: list[EmbedBody] = Field(min_length=1)


def read(raw: bytes, *, model: str, lenient: bool = False) -> EmbedAsk:
    """A call of embedContent. Raises `BadBody`."""
    body, unheeded = parse(raw, EmbedBody, lenient=lenient)
    return EmbedAsk(model, (text_of(body.content, "content"),), unheeded=unheeded)


def read_batch(raw: bytes, *, model: str, lenient: bool = False) -> EmbedAsk:
    """A call of batchEmbedContents. Raises `BadBody`."""
    body, unheeded = parse(raw, BatchBody, lenient=lenient)
    texts = [
        text_of(one.content, f"requests.{number}.content")
        for number, one in enumerate(body.requests)
    ]
    return EmbedAsk(model, tuple(texts), unheeded=unheeded)


def write(ask: EmbedAsk) -> dict[str, Any]:
    """The body of batchEmbedContents."""
    model = f"models/{(ask.model or '').removeprefix('models/')}"
    contents = [{"parts": [{"text": text}]} for text in ask.texts]
    return {"requests": [{"model": model, "content": content} for content in contents]}


def embed_json(vector: Sequence[float]) -> dict[str, Any]:
    return {"embedding": {"values": list(vector)}}


def batch_json(vectors: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {"embeddings": [{"values": list(one)} for one in vectors]}


def batch_read(answer: Mapping[str, Any], count: int) -> list[list[float]]:
    """The vectors in the order of the texts."""
    found = answer.get("embeddings") or []
    if len(found) != count:
        raise LangwrightError(
            f"The server gives {len(found)} vectors for {count} texts.", remedy="Ask it for fewer."
        )
    return [[float(value) for value in one["values"]] for one in found]
