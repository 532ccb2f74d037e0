"""Ollama's embeddings: https://docs.ollama.com/api/embed, and the older /api/embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, field_validator

from langwright.errors import LangwrightError
from langwright.wire.ask import EmbedAsk
from langwright.wire.body import ANY, Body, parse
from langwright.wire.ollama.options import seconds


@dataclass(frozen=True)
class OllamaEmbedAsk(EmbedAsk):
    """Without texts the model is only loaded; `keep_alive` as in `OllamaAsk`."""

    keep_alive: float | None = None


class _Kept(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"dimensions": 0, "options": ANY}

    model: str = Field(min_length=1)
    keep_alive: float | str | None = None

    @field_validator("keep_alive")
    @classmethod
    def _spans(cls, given: float | str | None) -> float | None:
        return seconds(given)

    def ask(
        self, texts: Sequence[str], truncate: bool, unheeded: tuple[str, ...]
    ) -> OllamaEmbedAsk:
        assert not isinstance(self.keep_alive, str), "it was read"
        return OllamaEmbedAsk(
            self.model,
            tuple(texts),
            truncate=truncate,
            unheeded=unheeded,
            keep_alive=self.keep_alive,
        )


class EmbedBody(_Kept):
    input: str | list[str] | None = None
    truncate: bool | None = None


class EmbeddingsBody(_Kept):
    prompt: str | None = None


def read(raw: bytes, *, lenient: bool = False) -> OllamaEmbedAsk:
    """What is too long is cut unless the call says no. Raises `BadBody`."""
    body, unheeded = parse(raw, EmbedBody, lenient=lenient)
    given = body.input or []
    texts = [given] if isinstance(given, str) else given
    return body.ask(texts, body.truncate is not False, unheeded)


def read_older(raw: bytes, *, lenient: bool = False) -> OllamaEmbedAsk:
    """The older call, of one text. Raises `BadBody`."""
    body, unheeded = parse(raw, EmbeddingsBody, lenient=lenient)
    return body.ask([body.prompt] if body.prompt else [], True, unheeded)


def write(ask: EmbedAsk) -> dict[str, Any]:
    return {"model": ask.model, "input": list(ask.texts), "truncate": ask.truncate}


def embed_json(
    model: str,
    vectors: Sequence[Sequence[float]],
    *,
    prompt_tokens: int = 0,
    total_ns: int = 0,
    load_ns: int = 0,
) -> dict[str, Any]:
    """The vectors have length 1 here, as Ollama's have."""
    return {
        "model": model,
        "embeddings": [_normal(one) for one in vectors],
        "total_duration": total_ns,
        "load_duration": load_ns,
        "prompt_eval_count": prompt_tokens,
    }


def embeddings_json(vector: Sequence[float]) -> dict[str, Any]:
    """The older answer; the vector is as long as it is."""
    return {"embedding": list(vector)}


def embeddings_read(answer: Mapping[str, Any], count: int) -> list[list[float]]:
    """The vectors in the order of the texts."""
    found = answer.get("embeddings") or []
    if len(found) != count:
        raise LangwrightError(
            f"The server gives {len(found)} vectors for {count} texts.", remedy="Ask it for fewer."
        )
    return [[float(value) for value in one] for one in found]


def _normal(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]
