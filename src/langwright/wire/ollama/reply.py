"""Ollama's generate and chat: the answer, a JSON object a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from langwright.backend import Event, TokenLogprob, ToolCall
from langwright.wire import sse, turns
from langwright.wire.ask import Ask
from langwright.wire.failure import Failure
from langwright.wire.ollama.errors import error_json
from langwright.wire.openai.chat_reply import finite
from langwright.wire.reply import Envelope
from langwright.wire.whole import Whole

MEDIA_TYPE = "application/x-ndjson"


class OllamaReply:
    """The answer to `ask`; `Reply` says how it is used. `clock` tells nanoseconds: from the making
    of this object to the first event the prompt is read. `load_ns`: how long the model took to
    load before. For the times of an answer that is told at once, `feed` it too as it comes, and
    ask for the `whole` of no more; otherwise but their sum is told."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        ask: Ask,
        envelope: Envelope,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        load_ns: int = 0,
    ) -> None:
        self._envelope, self._clock, self._load = envelope, clock, load_ns
        self._wants_logprobs = bool(ask.requests) and ask.request.logprobs is not None
        self._begun = clock()
        self._first: int | None = None
        self._so_far = Whole("", 0)

    def begin(self) -> bytes:
        return b""

    def feed(self, event: Event) -> bytes:
        if self._first is None:
            self._first = self._clock()
        first = len(self._so_far.calls)
        self._so_far.add(event)
        if not (event.text or event.thought or event.calls or event.logprobs):
            return b""
        said = self._said(event.text, event.thought, event.calls, first)
        told = {**self._frame(), **said, "done": False, **self._logprobs(event.logprobs)}
        return _line(told)

    def end(self) -> bytes:
        if self._so_far.finish_reason == "error":
            return self.fail(Failure("internal", self._so_far.error or "The answer failed."))
        return _line({**self._frame(), **self._said("", "", ()), **self._done()})

    def fail(self, failure: Failure) -> bytes:
        return _line(error_json(failure))

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        for event in events:
            self._so_far.add(event)
        one = self._so_far
        said = self._said(one.text, one.thought, one.calls)
        return {**self._frame(), **said, **self._done(), **self._logprobs(one.logprobs)}

    def loaded(self, *, unload: bool = False) -> dict[str, Any]:
        """The answer to a call without a prompt."""
        reason = "unload" if unload else "load"
        return {**self._frame(), **self._said("", "", ()), "done": True, "done_reason": reason}

    def _said(
        self, text: str, thought: str, calls: Sequence[ToolCall], first: int = 0
    ) -> dict[str, Any]:
        raise NotImplementedError

    def _done(self) -> dict[str, Any]:
        """`deadline` is a limit like another."""
        now, one = self._clock(), self._so_far
        told = {
            "done": True,
            "done_reason": "length" if one.finish_reason in ("length", "deadline") else "stop",
            "total_duration": now - self._begun + self._load,
            "load_duration": self._load,
            "prompt_eval_count": one.usage.prompt_tokens,
            "eval_count": one.usage.completion_tokens,
        }
        if self._first is not None:
            told["prompt_eval_duration"] = self._first - self._begun
            told["eval_duration"] = now - self._first
        return told

    def _frame(self) -> dict[str, Any]:
        passed = timedelta(microseconds=(self._clock() - self._begun) // 1000)
        at = datetime.fromtimestamp(self._envelope.created, UTC) + passed
        return {"model": self._envelope.model, "created_at": time_json(at)}

    def _logprobs(self, told: Iterable[TokenLogprob]) -> dict[str, Any]:
        found = [
            {
                **self._token(one.id, one.logprob),
                "top_logprobs": [self._token(token, value) for token, value in one.top],
            }
            for one in told
        ]
        return {"logprobs": found} if found and self._wants_logprobs else {}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        piece = self._envelope.piece(token)
        text = piece.decode(errors="replace")
        return {"token": text, "logprob": finite(logprob), "bytes": list(piece)}


class ChatReply(OllamaReply):
    """The answer of chat."""

    def _said(
        self, text: str, thought: str, calls: Sequence[ToolCall], first: int = 0
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thought:
            message["thinking"] = thought
        if calls:
            message["tool_calls"] = [
                call_json(one, first + number) for number, one in enumerate(calls)
            ]
        return {"message": message}


class GenerateReply(OllamaReply):
    """The answer of generate, in which no tools are called."""

    def _said(
        self, text: str, thought: str, calls: Sequence[ToolCall], first: int = 0
    ) -> dict[str, Any]:
        return {"response": text, **({"thinking": thought} if thought else {})}


def call_json(call: ToolCall, index: int) -> dict[str, Any]:
    function = {"index": index, "name": call.name, "arguments": turns.table(call)}
    return {"id": call.id, "function": function}


def time_json(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _line(told: dict[str, Any]) -> bytes:
    return sse.dumps(told) + b"\n"
