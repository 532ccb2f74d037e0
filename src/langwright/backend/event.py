"""What a back end answers, piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from langwright.backend.tools import ToolCall

FinishReason = Literal["stop", "length", "abort", "deadline", "error"]
"""`stop`: the model ended or a stop string came; `length`: max_tokens or the window is full;
`error`: what the event's `error` says."""


@dataclass(frozen=True)
class Usage:
    """`cached_tokens` are those of the prompt that a prefix cache spared."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def to_json(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
        }


@dataclass(frozen=True)
class TokenLogprob:
    """How likely a token was, in nats. `logprob` is the model's own; `processed` that of the
    distribution it was drawn from, after biases, penalties, constraint and filters (0 where the
    likeliest is taken); `top` are the likeliest (id, logprob) of the model's own."""

    id: int
    logprob: float
    processed: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Event:
    """A step of one request's answer.

    `text` is what has become certain since the last event: whole characters only, and never the
    beginning of a stop string. `index` tells which of a request's `n` answers it belongs to; the
    last event of each carries `finish_reason` and `usage`, and the `stop` string that ended it. The
    first may carry the `usage` so far, where the back end knows it.
    `logprobs` are those of `token_ids`, where the request asks for them; `prompt_logprobs`, on the
    first event, those of the prompt's tokens `prompt_token_ids`, None for the first of all.

    Where the request is a conversation, what the model thinks before it answers is `thought`
    (no part of `text`), and each call of a tool that has become whole is one of `calls`.
    """

    request_id: str
    text: str = ""
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    error: str | None = None
    thought: str = ""
    calls: tuple[ToolCall, ...] = ()
    stop: str | None = None
    prompt_token_ids: tuple[int, ...] = ()
    prompt_logprobs: tuple[TokenLogprob | None, ...] = ()
