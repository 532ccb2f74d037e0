"""A whole answer, from its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from langwright.backend import Event, FinishReason, TokenLogprob, ToolCall, Usage


@dataclass
class Whole:
    """What the events of one answer come to; see `Event`."""

    request_id: str
    index: int
    text: str = ""
    thought: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    prompt_token_ids: list[int] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprob | None] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    stop: str | None = None
    error: str | None = None

    def add(self, event: Event) -> None:
        self.text += event.text
        self.thought += event.thought
        self.calls += event.calls
        self.token_ids += event.token_ids
        self.logprobs += event.logprobs
        self.prompt_token_ids += event.prompt_token_ids
        self.prompt_logprobs += event.prompt_logprobs
        self.finish_reason = event.finish_reason or self.finish_reason
        self.usage = event.usage or self.usage
        self.stop = event.stop or self.stop
        self.error = event.error or self.error


def wholes(events: Iterable[Event]) -> dict[tuple[str, int], Whole]:
    """By request and index, in the order in which they begin."""
    found: dict[tuple[str, int], Whole] = {}
    for event in events:
        key = event.request_id, event.index
        found.setdefault(key, Whole(*key)).add(event)
    return found


def total_usage(answers: Iterable[Whole]) -> Usage:
    """What a call took: the prompt of each request counts once."""
    prompts: dict[str, tuple[int, int]] = {}
    drawn = 0
    for one in answers:
        prompts[one.request_id] = one.usage.prompt_tokens, one.usage.cached_tokens
        drawn += one.usage.completion_tokens
    return Usage(
        sum(read for read, _ in prompts.values()),
        drawn,
        sum(cached for _, cached in prompts.values()),
    )
