"""OpenAI's responses: the answer, read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langwright.backend import Event, FinishReason, ToolCall, Usage
from langwright.wire.failure import error_of
from langwright.wire.openai.errors import error_read
from langwright.wire.reading import MessageReading, sse_messages

DONE = ("response.completed", "response.incomplete", "response.failed")
REASONS: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "error"}


class ResponsesReading(MessageReading):
    """`Reading` says how it is used. Thoughts are the reasoning's text, or its summary where
    that alone is told."""

    def __init__(self, request_id: str = "response") -> None:
        super().__init__(request_id, sse_messages())
        self._ended = False

    def _message(self, told: dict[str, Any]) -> Iterator[Event]:
        kind = told.get("type") or ""
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            yield Event(self.request_id, told["delta"])
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            yield Event(self.request_id, thought=told["delta"])
        elif kind == "response.output_item.done" and told["item"]["type"] == "function_call":
            yield Event(self.request_id, calls=(_call(told["item"]),))
        elif kind in DONE:
            self._ended = True
            yield self._last(told["response"])
        elif kind == "error" or "error" in told:
            raise error_of(error_read(500, told if "error" in told else {"error": told}))

    def _rest(self) -> Iterable[Event]:
        return () if self._ended else (self._broken(),)

    def _whole(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        for item in answer["output"]:
            if item["type"] == "function_call":
                yield Event(self.request_id, calls=(_call(item),))
            elif item["type"] == "reasoning":
                thought = _text(item.get("content") or item.get("summary") or [])
                yield Event(self.request_id, thought=thought)
            elif item["type"] == "message":
                yield Event(self.request_id, _text(item["content"]))
        yield self._last(answer)

    def _last(self, response: Mapping[str, Any]) -> Event:
        """The end, of an answer that may have failed on the way."""
        status = response["status"]
        reason: FinishReason = "stop" if status == "completed" else "error"
        error = None
        if status == "incomplete":
            why = (response.get("incomplete_details") or {}).get("reason")
            reason = REASONS.get(why, "error") if why else "abort"
            error = f"The answer ended by '{why}'." if reason == "error" else None
        elif status == "failed":
            told = response.get("error") or {}
            error = str(told.get("message") or "The answer failed.")
        usage = response.get("usage")
        return Event(
            self.request_id,
            finish_reason=reason,
            usage=_usage(usage) if usage else None,
            error=error,
        )


def _call(item: Mapping[str, Any]) -> ToolCall:
    return ToolCall(item["call_id"], item["name"], item["arguments"])


def _text(parts: Iterable[Mapping[str, Any]]) -> str:
    return "".join(part.get("text") or part.get("refusal") or "" for part in parts)


def _usage(told: Mapping[str, Any]) -> Usage:
    cached = (told.get("input_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(told["input_tokens"], told["output_tokens"], cached)
