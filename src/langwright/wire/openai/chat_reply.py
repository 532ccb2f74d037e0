"""OpenAI's chat completions: the answer.

https://platform.openai.com/docs/api-reference/chat/object and …/chat-streaming
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langwright.backend import Event, FinishReason, TokenLogprob, ToolCall, Usage
from langwright.wire import sse
from langwright.wire.ask import Ask
from langwright.wire.failure import Failure
from langwright.wire.openai.errors import error_json
from langwright.wire.openai.reasons import REASONS
from langwright.wire.reply import Envelope
from langwright.wire.whole import Whole, total_usage, wholes


class ChatReply:
    """Answers of `ask`; `Reply` says how it is used."""

    media_type = sse.MEDIA_TYPE

    def __init__(self, ask: Ask, envelope: Envelope) -> None:
        self._ask, self._envelope = ask, envelope
        self._begun: dict[int, int] = {}  # index -> calls that were told
        self._ended: list[Whole] = []

    def begin(self) -> bytes:
        return b""

    def feed(self, event: Event) -> bytes:
        told = b""
        if event.index not in self._begun:
            self._begun[event.index] = 0
            told += self._chunk(event.index, {"role": "assistant", "content": None})
        delta = dict[str, Any]()
        if event.text:
            delta["content"] = event.text
        if event.thought:
            delta["reasoning_content"] = event.thought
        if event.calls:
            first = self._begun[event.index]
            self._begun[event.index] += len(event.calls)
            delta["tool_calls"] = [
                {"index": first + number, **call_json(one)}
                for number, one in enumerate(event.calls)
            ]
        logprobs = self._logprobs(event.logprobs)
        if delta or logprobs:
            told += self._chunk(event.index, delta or {"content": ""}, logprobs=logprobs)
        if event.finish_reason is not None:
            one = Whole(event.request_id, event.index)
            one.add(event)
            self._ended.append(one)
            reason = finish_reason(event.finish_reason, bool(self._begun[event.index]))
            told += self._chunk(event.index, {}, reason)
        return told

    def end(self) -> bytes:
        told = b""
        if self._ask.usage:
            usage = usage_json(total_usage(self._ended))
            told = sse.message(
                {**self._frame("chat.completion.chunk"), "choices": [], "usage": usage}
            )
        return told + sse.DONE

    def fail(self, failure: Failure) -> bytes:
        return sse.message(error_json(failure)) + sse.DONE

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        answers = wholes(events).values()
        return {
            **self._frame("chat.completion"),
            "choices": [self._choice(one) for one in sorted(answers, key=lambda one: one.index)],
            "usage": usage_json(total_usage(answers)),
        }

    def _choice(self, one: Whole) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": one.text if one.text or not one.calls else None,
            "refusal": None,
        }
        if one.thought:
            message["reasoning_content"] = one.thought
        if one.calls:
            message["tool_calls"] = [call_json(call) for call in one.calls]
        assert one.finish_reason is not None
        return {
            "index": one.index,
            "message": message,
            "finish_reason": finish_reason(one.finish_reason, bool(one.calls)),
            "logprobs": self._logprobs(one.logprobs),
        }

    def _frame(self, kind: str) -> dict[str, Any]:
        about = self._envelope
        return {
            "id": f"chatcmpl-{about.id}",
            "object": kind,
            "created": about.created,
            "model": about.model,
            "system_fingerprint": about.fingerprint,
        }

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        reason: str | None = None,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": logprobs}
        chunk = {**self._frame("chat.completion.chunk"), "choices": [choice]}
        if self._ask.usage:
            chunk["usage"] = None
        return sse.message(chunk)

    def _logprobs(self, told: Iterable[TokenLogprob]) -> dict[str, Any] | None:
        if self._ask.request.logprobs is None:
            return None
        found = [self._logprob(one) for one in told]
        return {"content": found, "refusal": None} if found else None

    def _logprob(self, one: TokenLogprob) -> dict[str, Any]:
        top = [self._token(token, value) for token, value in one.top]
        return {**self._token(one.id, one.logprob), "top_logprobs": top}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        piece = self._envelope.piece(token)
        text = piece.decode(errors="replace")
        return {"token": text, "logprob": finite(logprob), "bytes": list(piece)}


def call_json(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def finish_reason(reason: FinishReason, calls: bool) -> str:
    return "tool_calls" if calls and reason == "stop" else REASONS[reason]


def finite(logprob: float) -> float:
    """OpenAI's number for what cannot be: JSON has no infinity."""
    return max(logprob, -9999.0)


def usage_json(usage: Usage) -> dict[str, Any]:
    return {
        **usage.to_json(),
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
