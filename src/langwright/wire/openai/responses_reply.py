"""OpenAI's responses: the answer.

https://platform.openai.com/docs/api-reference/responses/object and …/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langwright.backend import Event, FinishReason, TokenLogprob, ToolCall, Usage
from langwright.wire import sse
from langwright.wire.ask import Ask
from langwright.wire.failure import Failure, FailureKind
from langwright.wire.openai.chat_reply import finite
from langwright.wire.openai.responses import ResponsesAsk, choice_json
from langwright.wire.reply import Envelope

CODES: dict[FailureKind, str] = {"invalid": "invalid_prompt", "too_many": "rate_limit_exceeded"}


class ResponsesReply:
    """The answer to `ask`; `Reply` says how it is used."""

    media_type = sse.MEDIA_TYPE

    def __init__(self, ask: Ask, envelope: Envelope) -> None:
        self._ask, self._envelope = ask, envelope
        self._number = 0
        self._begun = False
        self._items: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None  # the item that is being told
        self._reason: FinishReason | None = None
        self._usage, self._error = Usage(0, 0), ""

    def begin(self) -> bytes:
        self._begun = True
        response = self._response("in_progress")
        return self._message("response.created", response=response) + self._message(
            "response.in_progress", response=response
        )

    def feed(self, event: Event) -> bytes:
        told = b""
        if event.thought:
            told += self._enter("reasoning") + self._delta(event.thought)
        if event.text or event.logprobs:
            told += self._enter("message") + self._delta(event.text, event.logprobs)
        for one in event.calls:
            told += self._leave() + self._call(one)
        self._reason = event.finish_reason or self._reason
        self._usage = event.usage or self._usage
        self._error = event.error or self._error
        return told

    def end(self) -> bytes:
        told = b"" if self._items else self._enter("message")
        status = self._status()
        told += self._leave("incomplete" if status == "incomplete" else "completed")
        return told + self._message(f"response.{status}", response=self._response(status))

    def fail(self, failure: Failure) -> bytes:
        told = b"" if self._begun else self.begin()
        error = {"code": CODES.get(failure.kind, "server_error"), "message": failure.message}
        response = self._response("failed") | {"error": error}
        return told + self._message("response.failed", response=response)

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        for event in events:
            self.feed(event)
        self.end()
        return self._response(self._status())

    def _status(self) -> str:
        if self._reason == "error":
            return "failed"
        return "completed" if self._reason == "stop" else "incomplete"

    def _enter(self, kind: str) -> bytes:
        if self._open is not None and self._open["type"] == kind:
            return b""
        told = self._leave()
        part: dict[str, Any] = {"type": "reasoning_text", "text": ""}
        empty: dict[str, Any] = {"type": kind, "id": self._id(kind), "status": "in_progress"}
        if kind == "reasoning":
            empty["summary"] = []
        else:
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            empty["role"] = "assistant"
        self._open = {**empty, "content": [part]}
        self._items.append(self._open)
        return (
            told
            + self._message("response.output_item.added", item={**empty, "content": []}, at=True)
            + self._of_part("response.content_part.added", part=part)
        )

    def _delta(self, text: str, logprobs: Iterable[TokenLogprob] = ()) -> bytes:
        assert self._open is not None
        (part,) = self._open["content"]
        part["text"] += text
        if part["type"] == "reasoning_text":
            return self._of_part("response.reasoning_text.delta", delta=text)
        told = self._told(logprobs)
        part["logprobs"] += told
        return self._of_part("response.output_text.delta", delta=text, logprobs=_plain(told))

    def _leave(self, status: str = "completed") -> bytes:
        item = self._open
        if item is None:
            return b""
        (part,) = item["content"]
        item["status"] = status
        kind, own = part["type"], dict[str, Any]()
        if kind == "output_text":
            own["logprobs"] = _plain(part["logprobs"])
        told = self._of_part(f"response.{kind}.done", text=part["text"], **own)
        told += self._of_part("response.content_part.done", part=part)
        self._open = None
        return told + self._message("response.output_item.done", item=item, at=True)

    def _call(self, call: ToolCall) -> bytes:
        item = {
            "type": "function_call",
            "id": self._id("function_call"),
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        self._items.append(item)
        empty = {**item, "arguments": "", "status": "in_progress"}
        kind = "response.function_call_arguments"
        where: dict[str, Any] = {"item_id": item["id"], "at": True}
        return (
            self._message("response.output_item.added", item=empty, at=True)
            + self._message(f"{kind}.delta", delta=call.arguments, **where)
            + self._message(f"{kind}.done", arguments=call.arguments, name=call.name, **where)
            + self._message("response.output_item.done", item=item, at=True)
        )

    def _of_part(self, kind: str, **said: Any) -> bytes:
        assert self._open is not None
        return self._message(kind, item_id=self._open["id"], content_index=0, at=True, **said)

    def _message(self, kind: str, *, at: bool = False, **said: Any) -> bytes:
        told = {"type": kind, "sequence_number": self._number, **said}
        if at:
            told["output_index"] = len(self._items) - 1
        self._number += 1
        return sse.message(told, kind)

    def _id(self, kind: str) -> str:
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        number = len(self._items)
        return f"{prefix}_{self._envelope.id}" + (f"_{number}" if number else "")

    def _told(self, logprobs: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
        if self._ask.request.logprobs is None:
            return []
        return [
            {
                **self._token(one.id, one.logprob),
                "top_logprobs": [self._token(token, value) for token, value in one.top],
            }
            for one in logprobs
        ]

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        piece = self._envelope.piece(token)
        return {
            "token": piece.decode(errors="replace"),
            "logprob": finite(logprob),
            "bytes": list(piece),
        }

    def _response(self, status: str) -> dict[str, Any]:
        about, ask = self._envelope, self._ask
        request = ask.request
        ended = status in ("completed", "incomplete", "failed")
        error = None
        if status == "failed":
            error = {"code": "server_error", "message": self._error or "The answer failed."}
        return {
            "id": f"resp_{about.id}",
            "object": "response",
            "created_at": about.created,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": self._incomplete() if status == "incomplete" else None,
            **(ask.repeated if isinstance(ask, ResponsesAsk) else {}),
            "max_output_tokens": request.max_tokens,
            "model": about.model,
            "output": [dict(one) for one in self._items] if ended else [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "store": False,
            "temperature": request.sampling.temperature,
            "tool_choice": choice_json(request.tool_choice),
            "tools": [
                {"type": "function", "parameters": None, "strict": True, **one["function"]}
                for one in request.tools or ()
            ],
            "top_logprobs": request.logprobs or 0,
            "top_p": request.sampling.top_p,
            "truncation": "disabled",
            "usage": usage_json(self._usage) if ended else None,
            "user": None,
        }

    def _incomplete(self) -> dict[str, str] | None:
        return None if self._reason in (None, "abort") else {"reason": "max_output_tokens"}


def _plain(logprobs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the stream tells them: without bytes."""
    return [
        {
            "token": one["token"],
            "logprob": one["logprob"],
            "top_logprobs": [
                {"token": top["token"], "logprob": top["logprob"]} for top in one["top_logprobs"]
            ],
        }
        for one in logprobs
    ]


def usage_json(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
