"""Gemini's generateContent: the answer.

https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langwright.backend import Event, FinishReason, TokenLogprob, ToolCall, Usage
from langwright.wire import sse, turns
from langwright.wire.ask import Ask
from langwright.wire.failure import Failure
from langwright.wire.gemini.errors import error_json
from langwright.wire.gemini.generate import GeminiAsk
from langwright.wire.openai.chat_reply import finite
from langwright.wire.reply import Envelope
from langwright.wire.whole import Whole, total_usage, wholes

REASONS: dict[FinishReason, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "deadline": "MAX_TOKENS",
    "abort": "OTHER",
    "error": "OTHER",
}


class GeminiReply:
    """The answers to `ask`; `Reply` says how it is used. `array`: the stream is one JSON array, as
    where the call does not say alt=sse."""

    def __init__(self, ask: Ask, envelope: Envelope, *, array: bool = False) -> None:
        self._ask, self._envelope, self._array = ask, envelope, array
        self._tells_thoughts = isinstance(ask, GeminiAsk) and ask.thoughts
        self._ended: list[Whole] = []
        self._chunks = 0
        self._failed: str | None = None

    @property
    def media_type(self) -> str:
        return "application/json" if self._array else sse.MEDIA_TYPE

    def begin(self) -> bytes:
        return b""

    def feed(self, event: Event) -> bytes:
        told = b""
        parts = self._parts(event.thought, event.text, event.calls)
        if parts or event.logprobs:
            told += self._chunk(self._candidate(event.index, parts, event.logprobs), None)
        if event.finish_reason == "error":
            self._failed = event.error or "The answer failed."
        elif event.finish_reason is not None:
            one = Whole(event.request_id, event.index)
            one.add(event)
            self._ended.append(one)
            candidate = self._candidate(event.index, [{"text": ""}], ())
            candidate["finishReason"] = REASONS[event.finish_reason]
            told += self._chunk(candidate, total_usage(self._ended))
        return told

    def end(self) -> bytes:
        if self._failed is not None:
            return self.fail(Failure("internal", self._failed))
        return self._close()

    def fail(self, failure: Failure) -> bytes:
        return self._piece(error_json(failure)) + self._close()

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        answers = sorted(wholes(events).values(), key=lambda one: one.index)
        return {
            "candidates": [self._whole(one) for one in answers],
            "usageMetadata": usage_json(total_usage(answers)),
            **self._frame(),
        }

    def _whole(self, one: Whole) -> dict[str, Any]:
        parts = self._parts(one.thought, one.text, one.calls) or [{"text": ""}]
        told = self._candidate(one.index, parts, one.logprobs)
        assert one.finish_reason is not None
        told["finishReason"] = REASONS[one.finish_reason]
        if "logprobsResult" in told:
            told["avgLogprobs"] = sum(finite(it.logprob) for it in one.logprobs) / len(one.logprobs)
        return told

    def _parts(self, thought: str, text: str, calls: Iterable[ToolCall]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        if thought and self._tells_thoughts:
            found.append({"text": thought, "thought": True})
        if text:
            found.append({"text": text})
        return found + [
            {"functionCall": {"id": one.id, "name": one.name, "args": turns.table(one)}}
            for one in calls
        ]

    def _candidate(
        self, index: int, parts: list[dict[str, Any]], logprobs: Sequence[TokenLogprob]
    ) -> dict[str, Any]:
        told: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": index}
        if logprobs and self._ask.request.logprobs is not None:
            told["logprobsResult"] = {
                "chosenCandidates": [self._token(one.id, one.logprob) for one in logprobs],
                "topCandidates": [
                    {"candidates": [self._token(*top) for top in one.top]} for one in logprobs
                ],
            }
        return told

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._envelope.piece(token).decode(errors="replace")
        return {"token": text, "tokenId": token, "logProbability": finite(logprob)}

    def _chunk(self, candidate: dict[str, Any], usage: Usage | None) -> bytes:
        told = {"candidates": [candidate], **self._frame()}
        if usage is not None:
            told["usageMetadata"] = usage_json(usage)
        return self._piece(told)

    def _piece(self, told: dict[str, Any]) -> bytes:
        self._chunks += 1
        if not self._array:
            return sse.message(told)
        return (b"[" if self._chunks == 1 else b",\n") + sse.dumps(told)

    def _close(self) -> bytes:
        if not self._array:
            return b""
        return b"]" if self._chunks else b"[]"

    def _frame(self) -> dict[str, Any]:
        return {"modelVersion": self._envelope.model, "responseId": self._envelope.id}


def usage_json(usage: Usage) -> dict[str, int]:
    told = {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": usage.completion_tokens,
        "totalTokenCount": usage.total_tokens,
    }
    return {**told, "cachedContentTokenCount": usage.cached_tokens} if usage.cached_tokens else told
