"""OpenAI's chat completions: the call.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from langwright.backend import MAX_LOGPROBS, Constraint, Request
from langwright.wire.ask import Ask
from langwright.wire.body import ANY, BadBody, Body, Parameters, parse
from langwright.wire.openai.fields import ACCEPTED, SamplingBody, sampling_fields


class Part(Body):
    """A piece of a message."""

    type: str
    text: str | None = None


class Function(Body):
    name: str
    arguments: str | dict[str, Any] = ""


class Call(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"index": ANY}

    id: str | None = None
    type: Literal["function"] = "function"
    function: Function


class Message(Body):
    """A turn; `name`, and what was refused, stand in no template."""

    ACCEPTED: ClassVar[Mapping[str, object]] = {"name": ANY, "refusal": ANY, "annotations": ANY}

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None

    def plain(self, turn: int) -> dict[str, Any]:
        """The turn as a chat template takes it."""
        if extra := self.odd():
            raise BadBody(f"messages.{turn}.{extra[0]} is not supported.", f"messages.{turn}")
        told: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role}
        content = self.content
        if isinstance(content, list):
            for number, part in enumerate(content):
                if part.type != "text" or part.text is None:
                    where = f"messages.{turn}.content.{number}"
                    raise BadBody(f"{where}: a part of type '{part.type}' is not read.", where)
            content = "".join(part.text or "" for part in content)
        told["content"] = content if content is not None or self.tool_calls else ""
        thought = self.reasoning_content or self.reasoning
        if thought is not None:
            told["reasoning_content"] = thought
        if self.tool_calls:
            told["tool_calls"] = [one.model_dump(exclude_none=True) for one in self.tool_calls]
        if self.tool_call_id is not None:
            told["tool_call_id"] = self.tool_call_id
        return {name: one for name, one in told.items() if one is not None}


class ToolFunction(Body):
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: Parameters | None = None
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: ToolFunction

    def plain(self) -> dict[str, Any]:
        """The tool as a chat template takes it; whether it is `strict` is no affair of the model's,
        since every call keeps to the schema."""
        said = self.function.model_dump(exclude_none=True, exclude={"strict"})
        return {"type": "function", "function": said}


class NamedFunction(Body):
    name: str


class NamedTool(Body):
    type: Literal["function"]
    function: NamedFunction


class Schema(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"name": ANY, "description": ANY, "strict": ANY}

    json_schema: dict[str, Any] = Field(alias="schema", default_factory=dict)


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None
    # Beside `json_object`: not OpenAI's, but llama.cpp's, Together's and Fireworks' way.
    object_schema: dict[str, Any] | None = Field(alias="schema", default=None)

    def constraint(self) -> Constraint | None:
        if self.type == "text":
            return None
        if self.type == "json_object":
            return Constraint(json_schema=self.object_schema or {"type": "object"})
        assert self.json_schema is not None, "the body was checked"
        return Constraint(json_schema=self.json_schema.json_schema)

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is missing")
        if self.object_schema is not None and self.type != "json_object":
            raise ValueError("schema goes with the type json_object")
        return self


class ChatBody(SamplingBody):
    ACCEPTED: ClassVar[Mapping[str, object]] = {
        **ACCEPTED,
        "modalities": (["text"],),
        "parallel_tool_calls": True,
    }

    messages: list[Message] = Field(min_length=1)
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None

    @model_validator(mode="after")
    def _fits(self) -> ChatBody:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        return self


def read(raw: bytes, *, lenient: bool = False) -> Ask:
    """The call. Raises `BadBody`."""
    body, unheeded = parse(raw, ChatBody, lenient=lenient)
    choice = body.tool_choice
    request = Request(
        messages=[one.plain(turn) for turn, one in enumerate(body.messages)],
        max_tokens=body.max_completion_tokens or body.max_tokens,
        sampling=body.sampling(),
        stop=body.stops(),
        min_tokens=body.min_tokens or 0,
        n=body.n or 1,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        constraint=body.response_format.constraint() if body.response_format else None,
        tools=[one.plain() for one in body.tools] if body.tools else None,
        tool_choice=choice.function.name if isinstance(choice, NamedTool) else choice or "auto",
    )
    return Ask(body.model, (request,), bool(body.stream), body.wants_usage(), False, unheeded)


def write(ask: Ask) -> dict[str, Any]:
    """The body that asks for it. What the dialect has no room for is left out: see
    `Backend.capabilities`."""
    request = ask.request
    assert request.messages is not None
    said: dict[str, Any] = {
        "model": ask.model,
        "messages": [dict(one) for one in request.messages],
        **sampling_fields(request),
    }
    if request.max_tokens is not None:
        said["max_tokens"] = request.max_tokens
    if request.logprobs is not None:
        said |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.constraint is not None:
        schema = request.constraint.json_schema
        said["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {} if schema is True else schema},
        }
    if request.tools:
        said["tools"] = list(request.tools)
        choice = request.tool_choice
        named = {"type": "function", "function": {"name": choice}}
        said["tool_choice"] = choice if choice in ("auto", "none", "required") else named
    if ask.stream:
        said["stream"] = True
        if ask.usage:
            said["stream_options"] = {"include_usage": True}
    return said
