"""Anthropic's messages: the answer, read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langwright.backend import Event, FinishReason, ToolCall, Usage
from langwright.wire import turns
from langwright.wire.anthropic.errors import error_read
from langwright.wire.failure import error_of
from langwright.wire.reading import MessageReading, sse_messages

REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}


class MessagesReading(MessageReading):
    """`Reading` says how it is used."""

    def __init__(self, request_id: str = "message") -> None:
        super().__init__(request_id, sse_messages())
        self._message_so_far: dict[str, Any] = {}
        self._block: dict[str, Any] = {}
        self._arguments = ""
        self._ended = False

    def _message(self, told: dict[str, Any]) -> Iterator[Event]:
        kind = told.get("type")
        if kind == "error":
            raise error_of(error_read(None, told))
        if kind == "message_start":
            self._message_so_far = dict(told["message"])
        elif kind == "content_block_start":
            self._block, self._arguments = told["content_block"], ""
            yield from self._begun(self._block)
        elif kind == "content_block_delta":
            yield from self._delta(told["delta"])
        elif kind == "content_block_stop" and self._block["type"] == "tool_use":
            arguments = self._arguments or turns.compact(self._block.get("input") or {})
            call = ToolCall(self._block["id"], self._block["name"], arguments)
            yield Event(self.request_id, calls=(call,))
        elif kind == "message_delta":
            usage = {**(self._message_so_far.get("usage") or {}), **(told.get("usage") or {})}
            self._message_so_far |= {**told["delta"], "usage": usage}
        elif kind == "message_stop":
            self._ended = True
            yield self._last(self._message_so_far)

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        if delta["type"] == "text_delta":
            yield Event(self.request_id, delta["text"])
        elif delta["type"] == "thinking_delta":
            yield Event(self.request_id, thought=delta["thinking"])
        elif delta["type"] == "input_json_delta":
            self._arguments += delta["partial_json"]

    def _begun(self, block: Mapping[str, Any]) -> Iterator[Event]:
        """What a block says; in a stream it begins empty as a rule."""
        if block["type"] == "text" and block["text"]:
            yield Event(self.request_id, block["text"])
        elif block["type"] == "thinking" and block["thinking"]:
            yield Event(self.request_id, thought=block["thinking"])

    def _rest(self) -> Iterable[Event]:
        return () if self._ended else (self._broken(),)

    def _whole(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        for block in answer["content"]:
            yield from self._begun(block)
            if block["type"] == "tool_use":
                call = ToolCall(block["id"], block["name"], turns.compact(block["input"]))
                yield Event(self.request_id, calls=(call,))
        yield self._last(answer)

    def _last(self, answer: Mapping[str, Any]) -> Event:
        why, usage = answer.get("stop_reason"), answer.get("usage")
        reason = REASONS.get(str(why), "error")
        return Event(
            self.request_id,
            finish_reason=reason,
            usage=_usage(usage) if usage else None,
            stop=answer.get("stop_sequence"),
            error=f"The answer ended by '{why}'." if reason == "error" else None,
        )


def _usage(told: Mapping[str, Any]) -> Usage:
    cached = told.get("cache_read_input_tokens") or 0
    fresh = (told.get("input_tokens") or 0) + (told.get("cache_creation_input_tokens") or 0)
    return Usage(fresh + cached, told.get("output_tokens") or 0, cached)
