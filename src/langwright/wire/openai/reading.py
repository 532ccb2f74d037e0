"""OpenAI's chat and completions: the answer, read; and the list of models.

https://platform.openai.com/docs/api-reference, and what llama.cpp's, vLLM's and Ollama's servers
add to it: thoughts, and the stop string that ended an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langwright.backend import Event, FinishReason, ToolCall, Usage
from langwright.wire.failure import error_of
from langwright.wire.openai.errors import error_read
from langwright.wire.reading import MessageReading, shared, sse_messages

REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "content_filter": "error",
}


@dataclass
class _Choice:
    """What is held back of one: calls that are not whole, and its end."""

    calls: dict[int, list[str]] = field(default_factory=dict)  # id, name, arguments
    end: Event | None = None


class OpenAIReading(MessageReading):
    """`Reading` says how it is used."""

    def __init__(self, request_id: str = "answer") -> None:
        split = sse_messages()
        super().__init__(
            request_id, lambda raw: (one for one in split(raw) if one.strip() != "[DONE]")
        )
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None

    def _message(self, told: Mapping[str, Any]) -> Iterator[Event]:
        if told.get("error"):
            raise error_of(error_read(500, told))
        if usage := told.get("usage"):
            self._usage = _usage(usage)
        for choice in told.get("choices") or ():
            yield from self._choice(choice)

    def _choice(self, told: Mapping[str, Any]) -> Iterator[Event]:
        index = told.get("index") or 0
        one = self._choices.setdefault(index, _Choice())
        said = told.get("delta") or told.get("message") or {}
        text = told.get("text") or said.get("content") or said.get("refusal") or ""
        thought = said.get("reasoning_content") or said.get("reasoning") or ""
        if text or thought:
            yield Event(self.request_id, text, index=index, thought=thought)
        for number, call in enumerate(said.get("tool_calls") or ()):
            _add(one.calls, number, call)
        if why := told.get("finish_reason"):
            yield from self._whole_calls(index)
            one.end = self._end(index, why, told.get("stop_reason"))

    def _whole_calls(self, index: int) -> Iterator[Event]:
        held = self._choices[index].calls
        calls = tuple(ToolCall(*held[number]) for number in sorted(held))
        held.clear()
        if calls:
            yield Event(self.request_id, index=index, calls=calls)

    def _end(self, index: int, why: str, stop: object) -> Event:
        reason, error = REASONS.get(why, "error"), None
        if reason == "error":
            error = f"The answer ended by '{why}'."
            if why == "content_filter":
                error = "The provider's filter broke it off."
        return Event(
            self.request_id,
            finish_reason=reason,
            index=index,
            error=error,
            stop=stop if isinstance(stop, str) else None,
        )

    def _rest(self) -> Iterable[Event]:
        indices = sorted(self._choices) or [0]
        ends = (self._choices.get(index, _Choice()).end for index in indices)
        last = [one or self._broken(index) for index, one in zip(indices, ends, strict=True)]
        return shared(last, self._usage)

    def _whole(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._message(answer)
        yield from self._rest()


def _add(held: dict[int, list[str]], number: int, told: Mapping[str, Any]) -> None:
    """A piece of a call: its id and name come once, its arguments bit by bit. Servers that send
    each call at once may leave its index out."""
    index = told.get("index")
    if index is None:
        index = len(held) if told.get("id") else number
    function = told.get("function") or {}
    one = held.setdefault(index, ["", "", ""])
    one[0] = told.get("id") or one[0]
    one[1] = function.get("name") or one[1]
    one[2] += function.get("arguments") or ""


def _usage(told: Mapping[str, Any]) -> Usage:
    cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens")
    return Usage(told["prompt_tokens"], told.get("completion_tokens") or 0, cached or 0)


def models_read(answer: Mapping[str, Any]) -> dict[str, int | None]:
    """Name -> how many tokens it reads, where vLLM's or llama.cpp's server tells that."""
    found: dict[str, int | None] = {}
    for one in answer.get("data") or []:
        meta = one.get("meta") or {}
        found[str(one["id"])] = one.get("max_model_len") or meta.get("n_ctx")
    return found
