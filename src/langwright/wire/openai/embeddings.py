"""OpenAI's embeddings: https://platform.openai.com/docs/api-reference/embeddings."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from langwright.wire.ask import EmbedAsk
from langwright.wire.body import ANY, BadBody, Body, parse

MOST_TEXTS = 2048
"""OpenAI's."""

_Ids = list[Annotated[int, Field(ge=0, lt=2**31)]]


class EmbeddingBody(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"user": ANY}

    model: str | None = None
    input: str | _Ids | list[str] | list[_Ids]
    encoding_format: Literal["float", "base64"] | None = None


def read(raw: bytes, *, lenient: bool = False) -> EmbedAsk:
    """The call. Raises `BadBody`."""
    body, unheeded = parse(raw, EmbeddingBody, lenient=lenient)
    texts: list[str | tuple[int, ...]]
    if isinstance(body.input, str):
        texts = [body.input]
    elif body.input and isinstance(body.input[0], int):
        texts = [tuple(one for one in body.input if isinstance(one, int))]
    else:
        texts = [tuple(one) if isinstance(one, list) else one for one in body.input]  # type: ignore[misc]
    if not 1 <= len(texts) <= MOST_TEXTS or not all(texts):
        raise BadBody(f"There must be 1 to {MOST_TEXTS} inputs, none of them empty.", "input")
    return EmbedAsk(body.model, tuple(texts), body.encoding_format == "base64", False, unheeded)


def write(ask: EmbedAsk) -> dict[str, Any]:
    """The body that asks for it."""
    how = "base64" if ask.base64 else "float"
    texts = [list(one) if isinstance(one, tuple) else one for one in ask.texts]
    return {"model": ask.model, "input": texts, "encoding_format": how}


def reply(
    ask: EmbedAsk, model: str, vectors: Sequence[Sequence[float]], tokens: int
) -> dict[str, Any]:
    """The answer; `tokens` is how many were read."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _packed(one) if ask.base64 else list(one),
        }
        for index, one in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def vectors(answer: Mapping[str, Any]) -> list[list[float]]:
    """The vectors of an answer in the order of the texts."""
    found = sorted(answer["data"], key=lambda one: int(one["index"]))
    return [
        list(_unpacked(one["embedding"]))
        if isinstance(one["embedding"], str)
        else [float(value) for value in one["embedding"]]
        for one in found
    ]


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _unpacked(text: str) -> tuple[float, ...]:
    raw = base64.b64decode(text)
    return struct.unpack(f"<{len(raw) // 4}f", raw)
