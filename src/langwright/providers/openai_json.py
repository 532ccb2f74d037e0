"""OpenAI's JSON for completions, in and out; no I/O here.

What is said: https://platform.openai.com/docs/api-reference (chat, completions, embeddings,
models), and llama.cpp's and vLLM's servers where they add to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langwright.backend import FinishReason, Request, Usage
from langwright.errors import (
    BadInput,
    BadSettings,
    Busy,
    LangwrightError,
    NotFound,
    Unsupported,
)

HONOURED = frozenset(
    {
        "stop",
        "n",
        "temperature",
        "top_p",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "deadline_s",
    }
)
"""The options of a request that OpenAI's format has by the same meaning."""

MOST_STOPS, MOST_BIAS = 4, 100.0
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "error"}


@dataclass(frozen=True)
class Piece:
    """What one chunk of a stream adds. `hidden` says that it is of a train of thought."""

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    hidden: bool = False
    error: str | None = None


def endpoint(request: Request) -> str:
    """Where a request goes: messages to chat, text and ids to completions."""
    return "chat/completions" if request.messages is not None else "completions"


def body(request: Request, model: str, index: int = 0) -> dict[str, Any]:
    """The JSON that asks for answer `index` of a request as a stream.

    Raises `Unsupported` for what the format has no room for.
    """
    how = request.sampling
    if len(request.stop) > MOST_STOPS:
        raise Unsupported(
            f"There are {len(request.stop)} stop strings; OpenAI's format has room for "
            f"{MOST_STOPS}.",
            remedy="Give fewer.",
        )
    if any(abs(bias) > MOST_BIAS for bias in how.logit_bias.values()):
        raise Unsupported(
            f"OpenAI's format knows logit_bias up to {MOST_BIAS:g}.", remedy="Give smaller ones."
        )
    asked: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": how.temperature,
    }
    if request.messages is not None:
        asked["messages"] = [dict(message) for message in request.messages]
    else:
        asked["prompt"] = (
            request.text if request.text is not None else list(request.token_ids or ())
        )
        if request.max_tokens is None:
            raise Unsupported(
                "Completions of this format end after 16 tokens where max_tokens is not said.",
                remedy="Give max_tokens.",
            )
    options = {
        "max_tokens": request.max_tokens,
        "top_p": None if how.top_p == 1 else how.top_p,
        "seed": None if how.seed is None else how.seed + index,
        "frequency_penalty": how.frequency_penalty or None,
        "presence_penalty": how.presence_penalty or None,
        "logit_bias": {str(token): bias for token, bias in how.logit_bias.items()} or None,
        "stop": list(request.stop) or None,
    }
    return asked | {name: value for name, value in options.items() if value is not None}


def piece(chunk: Mapping[str, Any]) -> Piece:
    """What a chunk of a stream says, of either endpoint. Raises what its `error` says."""
    if chunk.get("error"):
        raise failure(500, chunk)
    usage = chunk.get("usage")
    told = None
    if usage:
        details = usage.get("prompt_tokens_details") or {}
        told = Usage(
            usage["prompt_tokens"],
            usage.get("completion_tokens", 0),
            details.get("cached_tokens") or 0,
        )
    choices = chunk.get("choices") or []
    if not choices:
        return Piece(usage=told)
    (choice,) = choices
    delta = choice.get("delta") or {}
    text = choice.get("text") or delta.get("content") or delta.get("refusal") or ""
    hidden = bool(delta.get("reasoning_content") or delta.get("reasoning"))
    said = choice.get("finish_reason")
    if said is None:
        return Piece(text, None, told, hidden)
    if said not in _REASONS:
        return Piece(text, "error", told, hidden, f"The answer ended by '{said}'.")
    error = "The provider's filter broke it off." if said == "content_filter" else None
    return Piece(text, _REASONS[said], told, hidden, error)


def embeddings(answer: Mapping[str, Any], count: int) -> list[list[float]]:
    """The vectors in the order of the texts."""
    found = sorted(answer["data"], key=lambda one: int(one["index"]))
    if [one["index"] for one in found] != list(range(count)):
        raise LangwrightError(
            f"The server gives {len(found)} vectors for {count} texts.", remedy="Ask it for fewer."
        )
    return [[float(value) for value in one["embedding"]] for one in found]


def models(answer: Mapping[str, Any]) -> dict[str, int | None]:
    """Name -> how many tokens it reads, where that is told."""
    found: dict[str, int | None] = {}
    for one in answer.get("data") or []:
        meta = one.get("meta") or {}
        found[str(one["id"])] = one.get("max_model_len") or meta.get("n_ctx")
    return found


def failure(
    status: int,
    answer: Mapping[str, Any] | None,
    *,
    retry_after: str | None = None,
    known: Sequence[str] = (),
) -> LangwrightError:
    """The error that a status and its JSON stand for, as a person needs to hear it."""
    told = (answer or {}).get("error") or {}
    if not isinstance(told, Mapping):
        told = {"message": str(told)}
    message = str(told.get("message") or (answer or {}).get("message") or f"status {status}")
    kind = f"{told.get('type')} {told.get('code')}"
    said = f"The server says: {message.rstrip('.')}."
    if status in (401, 403):
        remedy = "Set LANGWRIGHT_API_KEY to a key of this server's."
        return BadSettings(said, remedy=remedy)
    if status == 404:
        named = f"It knows {', '.join(known)}." if known else "Check the address and the model."
        return NotFound(said, remedy=named)
    if status == 429:
        wait = f"in {retry_after} seconds" if retry_after else "later"
        return Busy(said, remedy=f"Try again {wait}, or ask for less at once.")
    if "context" in kind:
        return BadInput(said, remedy="Shorten the prompt or the answer.")
    if 400 <= status < 500:
        return BadInput(said, remedy="Change the request.")
    return LangwrightError(said, remedy="Try again, and look into the server's log.")
