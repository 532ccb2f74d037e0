"""Ollama's chat: the call. https://docs.ollama.com/api/chat"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import field_validator

from langwright.wire import turns
from langwright.wire.ask import Ask
from langwright.wire.body import ANY, BadBody, Body, Parameters, parse
from langwright.wire.ollama.options import CallBody, OllamaAsk, call_fields


class Function(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"index": ANY}

    name: str
    arguments: dict[str, Any]


class Call(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"type": "function"}

    id: str | None = None
    function: Function


class Message(Body):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    images: list[Any] | None = None
    thinking: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None

    @field_validator("role", mode="before")
    @classmethod
    def _small(cls, given: Any) -> Any:
        return given.lower() if isinstance(given, str) else given

    def plain(self, turn: int) -> dict[str, Any]:
        """The turn as a chat template takes it."""
        if self.images:
            where = f"messages.{turn}.images"
            raise BadBody(f"{where}: they are not read.", where)
        if self.role == "assistant":
            calls = [
                turns.call(one.id, one.function.name, turns.compact(one.function.arguments))
                for one in self.tool_calls or ()
            ]
            return turns.assistant(self.content or None, self.thinking, calls)
        told = {"role": self.role, "content": self.content or ""}
        more = {"tool_call_id": self.tool_call_id, "name": self.tool_name}
        if self.role != "tool":
            return told
        return {**told, **{name: one for name, one in more.items() if one}}


class ToolFunction(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"strict": ANY}

    name: str
    description: str | None = None
    parameters: Parameters | None = None


class Tool(Body):
    type: Literal["function"] = "function"
    function: ToolFunction


class ChatBody(CallBody):
    messages: list[Message] | None = None
    tools: list[Tool] | None = None


def read(raw: bytes, *, lenient: bool = False) -> OllamaAsk:
    """The call; without messages the model is only loaded. Raises `BadBody`."""
    body, unheeded = parse(raw, ChatBody, lenient=lenient)
    if not body.messages:
        return body.ask(unheeded)
    given = [one.function for one in body.tools or ()]
    return body.ask(
        unheeded,
        messages=[one.plain(turn) for turn, one in enumerate(body.messages)],
        tools=[turns.tool(one.name, one.description, one.parameters) for one in given] or None,
    )


def write(ask: Ask) -> dict[str, Any]:
    """The body that asks for it. What the dialect has no room for is left out: see
    `Backend.capabilities`."""
    request = ask.request
    assert request.messages is not None
    said = {**call_fields(ask), "messages": [_message(one) for one in request.messages]}
    if request.tools:
        said["tools"] = list(request.tools)
    return said


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"role": turn["role"], "content": turns.text_of(turn)}
    for name, own in (
        ("reasoning_content", "thinking"),
        ("tool_call_id", "tool_call_id"),
        ("name", "tool_name"),
    ):
        if turn.get(name):
            told[own] = turn[name]
    if calls := turns.calls_of(turn):
        told["tool_calls"] = [
            {
                **({"id": one.id} if one.id else {}),
                "function": {"index": number, "name": one.name, "arguments": turns.table(one)},
            }
            for number, one in enumerate(calls)
        ]
    return told
