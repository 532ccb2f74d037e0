"""OpenAI's responses: the call.

https://platform.openai.com/docs/api-reference/responses/create. Nothing is stored: a call says all
that was said before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from langwright.backend import MAX_LOGPROBS, Constraint, Request, Sampling
from langwright.wire import turns
from langwright.wire.ask import Ask
from langwright.wire.body import ANY, BadBody, Body, Parameters, parse
from langwright.wire.openai.items import Item, messages, written

LOGPROBS = "message.output_text.logprobs"


class Tool(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"defer_loading": False}

    type: str
    name: str | None = None
    description: str | None = None
    parameters: Parameters | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _named(self) -> Tool:
        if self.type == "function" and not self.name:
            raise ValueError("a function needs a name")
        return self

    def unheeded(self) -> tuple[str, ...]:
        """Of a tool of another type, its type."""
        return super().unheeded() if self.type == "function" else (self.type,)


class NamedTool(Body):
    type: str
    name: str | None = None

    def unheeded(self) -> tuple[str, ...]:
        named = self.type == "function" and self.name
        return super().unheeded() if named else (self.type,)


class Format(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"name": ANY, "description": ANY, "strict": ANY}

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = Field(alias="schema", default=None)

    @model_validator(mode="after")
    def _has_schema(self) -> Format:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("schema is missing")
        return self

    def constraint(self) -> Constraint | None:
        if self.type == "text":
            return None
        if self.type == "json_object":
            return Constraint(json_schema={"type": "object"})
        return Constraint(json_schema=self.json_schema)


class Text(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"verbosity": "medium"}

    format: Format | None = None


class ResponsesBody(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {
        "background": False,
        "parallel_tool_calls": True,
        "prompt_cache_key": ANY,
        "prompt_cache_retention": ANY,
        "reasoning": ({}, {"effort": None}, {"effort": None, "summary": None}),
        "safety_identifier": ANY,
        "service_tier": ("auto", "default"),
        "store": ANY,
        "stream_options": ANY,
        "truncation": "disabled",
        "user": ANY,
    }

    model: str | None = None
    input: str | list[Item]
    include: list[str] | None = None
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    metadata: dict[str, str] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    text: Text | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    tools: list[Tool] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    @property
    def wants_logprobs(self) -> bool:
        return LOGPROBS in (self.include or ())

    def unheeded(self) -> tuple[str, ...]:
        found = list(super().unheeded())
        found += [f"include.{one}" for one in self.include or () if one != LOGPROBS]
        if self.top_logprobs and not self.wants_logprobs:
            found.append("top_logprobs")
        return tuple(found)

    def choice(self) -> str:
        if isinstance(self.tool_choice, NamedTool):
            return (self.tool_choice.type == "function" and self.tool_choice.name) or "auto"
        return self.tool_choice or "auto"

    def repeated(self) -> dict[str, Any]:
        """What the answer says again of the call, beside what is in its request."""
        format_ = self.text.format if self.text else None
        told = format_.model_dump(by_alias=True, exclude_none=True) if format_ else None
        return {
            "instructions": self.instructions,
            "metadata": self.metadata or {},
            "text": {"format": told or {"type": "text"}},
        }


@dataclass(frozen=True)
class ResponsesAsk(Ask):
    """`repeated` is what the answer says again of the call, beside what is in its request."""

    repeated: Mapping[str, Any] = field(default_factory=dict)


def read(raw: bytes, *, lenient: bool = False) -> ResponsesAsk:
    """The call. Raises `BadBody`."""
    body, unheeded = parse(raw, ResponsesBody, lenient=lenient)
    told: list[dict[str, Any]] = []
    if body.instructions is not None:
        told.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        told.append({"role": "user", "content": body.input})
    else:
        told += messages(body.input)
    if not told:
        raise BadBody("input: it is empty.", "input")
    sampling = Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
    )
    tools = [
        turns.tool(one.name, one.description, one.parameters)
        for one in body.tools or ()
        if one.type == "function" and one.name
    ]
    request = Request(
        messages=told,
        max_tokens=body.max_output_tokens,
        sampling=sampling,
        logprobs=(body.top_logprobs or 0) if body.wants_logprobs else None,
        constraint=body.text.format.constraint() if body.text and body.text.format else None,
        tools=tools or None,
        tool_choice=body.choice(),
    )
    return ResponsesAsk(
        body.model,
        (request,),
        bool(body.stream),
        unheeded=unheeded,
        repeated=body.repeated(),
    )


def write(ask: Ask) -> dict[str, Any]:
    """The body that asks for it. What the dialect has no room for is left out: see
    `Backend.capabilities`."""
    return {name: one for name, one in _fields(ask) if one is not None}


def _fields(ask: Ask) -> Iterator[tuple[str, Any]]:
    request = ask.request
    assert request.messages is not None
    yield "model", ask.model
    yield "input", written(request.messages)
    yield "store", False
    yield "max_output_tokens", request.max_tokens
    yield "temperature", request.sampling.temperature
    if request.sampling.top_p != 1:
        yield "top_p", request.sampling.top_p
    if request.logprobs is not None:
        yield "include", [LOGPROBS]
        yield "top_logprobs", request.logprobs
    if request.constraint is not None and request.constraint.json_schema is not None:
        schema = request.constraint.json_schema
        schema = {} if schema is True else schema
        yield "text", {"format": {"type": "json_schema", "name": "answer", "schema": schema}}
    if request.tools:
        yield "tools", [{"type": "function", **one["function"]} for one in request.tools]
        yield "tool_choice", choice_json(request.tool_choice)
    yield "stream", ask.stream or None


def choice_json(choice: str) -> Any:
    named = {"type": "function", "name": choice}
    return choice if choice in ("auto", "none", "required") else named
