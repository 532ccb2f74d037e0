"""Anthropic's messages: the call.

https://platform.claude.com/docs/en/api/messages/create and …/count_tokens
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from langwright.backend import Constraint, Request, Sampling
from langwright.errors import Unsupported
from langwright.wire import turns
from langwright.wire.anthropic.blocks import CACHED, Message, Text, joined, messages, written
from langwright.wire.ask import Ask
from langwright.wire.body import ANY, Body, Parameters, parse


class Tool(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {
        **CACHED,
        "allowed_callers": (["direct"],),
        "defer_loading": False,
        "eager_input_streaming": ANY,
        "strict": ANY,
    }

    type: str | None = None
    name: str = ""
    description: str | None = None
    input_schema: Parameters | None = None

    @property
    def is_custom(self) -> bool:
        return self.type in (None, "custom")

    @model_validator(mode="after")
    def _complete(self) -> Tool:
        if self.is_custom and not (self.name and self.input_schema is not None):
            raise ValueError("a tool needs a name and an input_schema")
        return self

    def unheeded(self) -> tuple[str, ...]:
        """Of a tool that the server should have, its type."""
        return super().unheeded() if self.is_custom else (self.type or "",)


class ToolChoice(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None

    @model_validator(mode="after")
    def _named(self) -> ToolChoice:
        if self.type == "tool" and not self.name:
            raise ValueError("a tool needs a name")
        return self

    def unheeded(self) -> tuple[str, ...]:
        several = self.type in ("auto", "any") and self.disable_parallel_tool_use
        return (*super().unheeded(), *(("disable_parallel_tool_use",) if several else ()))

    def plain(self) -> str:
        if self.type == "tool":
            return self.name or ""
        return "required" if self.type == "any" else self.type


class Thinking(Body):
    type: Literal["enabled", "disabled", "adaptive"]


class JsonFormat(Body):
    type: Literal["json_schema"]
    json_schema: dict[str, Any] = Field(alias="schema")


class OutputConfig(Body):
    format: JsonFormat | None = None


class CountBody(Body):
    """What the count of tokens has in common with the call."""

    ACCEPTED: ClassVar[Mapping[str, object]] = {
        **CACHED,
        "metadata": ANY,
        "service_tier": ("auto", "standard_only"),
        "speed": "standard",
    }

    model: str
    messages: list[Message] = Field(min_length=1)
    system: str | list[Text] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None

    def unheeded(self) -> tuple[str, ...]:
        """Among them that the answer goes on from what an assistant begins at the end."""
        last = len(self.messages) - 1
        begun = self.messages[last].role == "assistant"
        return (*super().unheeded(), *((f"messages.{last}.prefill",) if begun else ()))

    def turns(self) -> list[dict[str, Any]]:
        system = [] if self.system is None else [{"role": "system", "content": joined(self.system)}]
        return [*system, *messages(self.messages)]

    def plain_tools(self) -> list[dict[str, Any]] | None:
        given = (one for one in self.tools or () if one.is_custom)
        return [turns.tool(one.name, one.description, one.input_schema) for one in given] or None

    def think(self) -> bool | None:
        return None if self.thinking is None else self.thinking.type != "disabled"


class MessagesBody(CountBody):
    max_tokens: Annotated[int, Field(ge=1)]
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    def constraint(self) -> Constraint | None:
        asked = self.output_config.format if self.output_config else None
        return Constraint(json_schema=asked.json_schema) if asked else None


def read(raw: bytes, *, lenient: bool = False) -> Ask:
    """The call. Raises `BadBody`."""
    body, unheeded = parse(raw, MessagesBody, lenient=lenient)
    sampling = Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_k=body.top_k or 0,
        top_p=1.0 if body.top_p is None else body.top_p,
    )
    request = Request(
        messages=body.turns(),
        max_tokens=body.max_tokens,
        sampling=sampling,
        stop=tuple(body.stop_sequences or ()),
        constraint=body.constraint(),
        tools=body.plain_tools(),
        tool_choice=body.tool_choice.plain() if body.tool_choice else "auto",
    )
    return Ask(body.model, (request,), bool(body.stream), unheeded=unheeded, think=body.think())


def read_count(raw: bytes, *, lenient: bool = False) -> Ask:
    """A call of which only the tokens of the prompt are asked. Raises `BadBody`."""
    body, unheeded = parse(raw, CountBody, lenient=lenient)
    request = Request(
        messages=body.turns(),
        tools=body.plain_tools(),
        tool_choice=body.tool_choice.plain() if body.tool_choice else "auto",
    )
    return Ask(body.model, (request,), unheeded=unheeded, think=body.think())


def count_json(tokens: int) -> dict[str, int]:
    return {"input_tokens": tokens}


def write(ask: Ask) -> dict[str, Any]:
    """The body that asks for it. What the dialect has no room for is left out: see
    `Backend.capabilities`.

    Raises `Unsupported` where max_tokens is not said.
    """
    if ask.request.max_tokens is None:
        raise Unsupported("Anthropic's format needs max_tokens.", remedy="Give max_tokens.")
    return {name: one for name, one in _fields(ask) if one is not None}


def _fields(ask: Ask) -> Iterator[tuple[str, Any]]:
    request = ask.request
    assert request.messages is not None
    system, told = written(request.messages)
    yield "model", ask.model
    yield "system", system
    yield "messages", told
    yield "max_tokens", request.max_tokens
    yield "temperature", request.sampling.temperature
    yield "top_p", None if request.sampling.top_p == 1 else request.sampling.top_p
    yield "top_k", request.sampling.top_k or None
    yield "stop_sequences", list(request.stop) or None
    if request.tools:
        yield "tools", [_tool_json(one["function"]) for one in request.tools]
        yield "tool_choice", _choice_json(request.tool_choice)
    if request.constraint is not None and request.constraint.json_schema is not None:
        schema = request.constraint.json_schema
        form = {"type": "json_schema", "schema": {} if schema is True else schema}
        yield "output_config", {"format": form}
    if ask.think is not None:
        yield "thinking", {"type": "adaptive" if ask.think else "disabled"}
    yield "stream", ask.stream or None


def _tool_json(function: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: one for name, one in function.items() if name != "parameters"}
    return {**told, "input_schema": function.get("parameters") or {"type": "object"}}


def _choice_json(choice: str) -> dict[str, str]:
    if choice in ("auto", "none", "required"):
        return {"type": "any" if choice == "required" else choice}
    return {"type": "tool", "name": choice}
