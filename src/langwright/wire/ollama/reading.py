"""Ollama's generate and chat: the answer, read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langwright.backend import Event, FinishReason, ToolCall, Usage
from langwright.wire import turns
from langwright.wire.failure import error_of
from langwright.wire.ollama.errors import error_read
from langwright.wire.reading import MessageReading, json_lines


class OllamaReading(MessageReading):
    """`Reading` says how it is used. A call without an id gets one by its number."""

    def __init__(self, request_id: str = "answer") -> None:
        super().__init__(request_id, json_lines())
        self._calls = 0
        self._ended = False

    def _message(self, told: Mapping[str, Any]) -> Iterator[Event]:
        if "error" in told:
            raise error_of(error_read(500, told))
        message = told.get("message", told)
        text = message.get("content") or message.get("response") or ""
        thought, calls = message.get("thinking") or "", message.get("tool_calls") or ()
        if text or thought:
            yield Event(self.request_id, text, thought=thought)
        for one in calls:
            yield Event(self.request_id, calls=(self._call(one),))
        if told["done"]:
            self._ended = True
            yield self._last(told)

    def _call(self, told: Mapping[str, Any]) -> ToolCall:
        self._calls += 1
        function = told["function"]
        ident = told.get("id") or f"call_{self._calls}"
        return ToolCall(ident, function["name"], turns.compact(function["arguments"]))

    def _rest(self) -> Iterable[Event]:
        return () if self._ended else (self._broken(),)

    def _whole(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        return self._message(answer)

    def _last(self, told: Mapping[str, Any]) -> Event:
        reason: FinishReason = "length" if told.get("done_reason") == "length" else "stop"
        counts = told.get("prompt_eval_count"), told.get("eval_count")
        usage = Usage(*(count or 0 for count in counts)) if any(
            count is not None for count in counts
        ) else None  # fmt: skip
        return Event(self.request_id, finish_reason=reason, usage=usage)
