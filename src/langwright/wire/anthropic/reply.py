"""Anthropic's messages: the answer.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langwright.backend import Event, ToolCall, Usage
from langwright.wire import sse, turns
from langwright.wire.anthropic.errors import error_json
from langwright.wire.ask import Ask
from langwright.wire.failure import Failure
from langwright.wire.reply import Envelope
from langwright.wire.whole import Whole

PING = sse.message({"type": "ping"}, "ping")


class MessagesReply:
    """The answer to `ask`; `Reply` says how it is used. A stream begins with its first event, for
    that may know the tokens of the prompt; with its end they are told for certain."""

    media_type = sse.MEDIA_TYPE

    def __init__(self, ask: Ask, envelope: Envelope) -> None:
        self._ask, self._envelope = ask, envelope
        self._so_far = Whole(ask.request.id, 0)
        self._blocks: list[dict[str, Any]] = []
        self._begun = self._open = False

    def begin(self) -> bytes:
        return b""

    def feed(self, event: Event) -> bytes:
        self._so_far.add(event)
        told = self._start()
        if event.thought:
            told += self._say("thinking", event.thought)
        if event.text:
            told += self._say("text", event.text)
        for one in event.calls:
            told += self._call(one)
        return told

    def end(self) -> bytes:
        so_far = self._so_far
        told = self._start() + self._leave()
        if so_far.finish_reason == "error":
            return told + self.fail(Failure("internal", so_far.error or "The answer failed."))
        usage = usage_json(so_far.usage)
        told += self._message("message_delta", delta=stop_json(so_far), usage=usage)
        return told + self._message("message_stop")

    def fail(self, failure: Failure) -> bytes:
        return sse.message(error_json(failure), "error")

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        for event in events:
            self.feed(event)
        so_far = self._so_far
        return {
            **self._frame(),
            "content": self._blocks,
            **stop_json(so_far),
            "usage": usage_json(so_far.usage),
        }

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        frame = self._frame() | {"usage": usage_json(self._so_far.usage)}
        return self._message("message_start", message=frame) + PING

    def _say(self, kind: str, text: str) -> bytes:
        told = b""
        if not self._open or self._blocks[-1]["type"] != kind:
            empty = {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
            told = self._leave() + self._enter(empty)
        self._blocks[-1][kind] += text
        return told + self._delta({"type": f"{kind}_delta", kind: text})

    def _call(self, call: ToolCall) -> bytes:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        told = self._leave() + self._enter(block)
        self._blocks[-1]["input"] = turns.table(call)
        said = {"type": "input_json_delta", "partial_json": call.arguments or "{}"}
        return told + self._delta(said) + self._leave()

    def _enter(self, block: dict[str, Any]) -> bytes:
        self._open = True
        self._blocks.append(dict(block))
        return self._message("content_block_start", index=self._last, content_block=block)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._message("content_block_delta", index=self._last, delta=delta)

    def _leave(self) -> bytes:
        if not self._open:
            return b""
        self._open = False
        return self._message("content_block_stop", index=self._last)

    @property
    def _last(self) -> int:
        return len(self._blocks) - 1

    def _frame(self) -> dict[str, Any]:
        return {
            "id": f"msg_{self._envelope.id}",
            "type": "message",
            "role": "assistant",
            "model": self._envelope.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_json(Usage(0, 0)),
        }

    def _message(self, kind: str, **said: Any) -> bytes:
        return sse.message({"type": kind, **said}, kind)


def stop_json(answer: Whole) -> dict[str, str | None]:
    """Why it ended; `deadline` is a limit like another."""
    reason = "end_turn"
    if answer.finish_reason in ("length", "deadline"):
        reason = "max_tokens"
    elif answer.calls:
        reason = "tool_use"
    elif answer.stop is not None:
        reason = "stop_sequence"
    return {
        "stop_reason": reason,
        "stop_sequence": answer.stop if reason == "stop_sequence" else None,
    }


def usage_json(usage: Usage) -> dict[str, int]:
    """The tokens that a cache spared are not among `input_tokens`."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
