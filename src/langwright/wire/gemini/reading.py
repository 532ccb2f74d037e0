"""Gemini's generateContent: the answer, read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langwright.backend import Event, FinishReason, ToolCall, Usage
from langwright.wire import turns
from langwright.wire.failure import error_of
from langwright.wire.gemini.errors import error_read
from langwright.wire.reading import MessageReading, shared, sse_messages

REASONS: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}


class GeminiReading(MessageReading):
    """`Reading` says how it is used; the stream is that of alt=sse. A call without an id gets one
    by its number."""

    def __init__(self, request_id: str = "answer") -> None:
        super().__init__(request_id, sse_messages())
        self._seen: set[int] = set()
        self._ends: dict[int, Event] = {}
        self._usage: Usage | None = None
        self._calls = 0

    def _message(self, told: Mapping[str, Any]) -> Iterator[Event]:
        if "error" in told:
            raise error_of(error_read(500, told))
        if usage := told.get("usageMetadata"):
            self._usage = _usage(usage)
        blocked = (told.get("promptFeedback") or {}).get("blockReason")
        if blocked:
            self._end(0, "error", f"The prompt was blocked: {blocked}.")
        for candidate in told.get("candidates") or ():
            yield from self._candidate(candidate)

    def _candidate(self, told: Mapping[str, Any]) -> Iterator[Event]:
        index = told.get("index") or 0
        self._seen.add(index)
        for part in (told.get("content") or {}).get("parts") or ():
            if part.get("text"):
                text = part["text"]
                own = {"thought": text} if part.get("thought") else {"text": text}
                yield Event(self.request_id, index=index, **own)
            if call := part.get("functionCall"):
                self._calls += 1
                arguments = turns.compact(call.get("args") or {})
                ident = call.get("id") or f"call_{self._calls}"
                made = ToolCall(ident, call["name"], arguments)
                yield Event(self.request_id, index=index, calls=(made,))
        if why := told.get("finishReason"):
            reason = REASONS.get(why, "error")
            error = told.get("finishMessage") or f"The answer ended by '{why}'."
            self._end(index, reason, error if reason == "error" else None)

    def _end(self, index: int, reason: FinishReason, error: str | None) -> None:
        self._seen.add(index)
        ended = Event(self.request_id, finish_reason=reason, index=index, error=error)
        self._ends[index] = ended

    def _rest(self) -> Iterable[Event]:
        indices = sorted(self._seen) or [0]
        ends = [self._ends.get(index) or self._broken(index) for index in indices]
        return shared(ends, self._usage)

    def _whole(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._message(answer)
        yield from self._rest()


def _usage(told: Mapping[str, Any]) -> Usage:
    """Thoughts are counted apart there."""
    drawn = (told.get("candidatesTokenCount") or 0) + (told.get("thoughtsTokenCount") or 0)
    prompt, cached = told.get("promptTokenCount"), told.get("cachedContentTokenCount")
    return Usage(prompt or 0, drawn, cached or 0)
