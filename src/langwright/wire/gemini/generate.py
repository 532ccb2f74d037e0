"""Gemini's generateContent: the call. https://ai.google.dev/api/generate-content"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from langwright.backend import MAX_LOGPROBS, Constraint, Request, Sampling
from langwright.wire.ask import Ask
from langwright.wire.body import ANY, BadBody, parse
from langwright.wire.gemini.contents import Content, GeminiBody, messages, text_of, written
from langwright.wire.gemini.schema import json_schema
from langwright.wire.gemini.tools import Tool, ToolConfig, choose, tool_fields

JSON, ENUM, PLAIN = "application/json", "text/x.enum", "text/plain"


@dataclass(frozen=True)
class GeminiAsk(Ask):
    """`thoughts`: what the model thinks is to be told too."""

    thoughts: bool = False


class ThinkingConfig(GeminiBody):
    include_thoughts: bool | None = None
    thinking_budget: int | None = None

    def unheeded(self) -> tuple[str, ...]:
        """-1 leaves the budget to the model, and 0 is no thought."""
        bounded = self.thinking_budget not in (None, -1, 0)
        return (*super().unheeded(), *(("thinkingBudget",) if bounded else ()))


class GenerationConfig(GeminiBody):
    ACCEPTED: ClassVar[Mapping[str, object]] = {
        "responseModalities": (["TEXT"], ["text"], []),
        "enableEnhancedCivicAnswers": False,
        "audioTimestamp": False,
    }

    candidate_count: Annotated[int, Field(ge=1, le=128)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    response_json_schema: dict[str, Any] | bool | None = None
    response_logprobs: bool | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    thinking_config: ThinkingConfig | None = None
    top_k: Annotated[float, Field(ge=0, le=2**31)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    @field_validator("top_k")
    @classmethod
    def _whole(cls, given: float | None) -> float | None:
        if given is not None and given != int(given):
            raise ValueError("it is a whole number")
        return given

    def sampling(self) -> Sampling:
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=int(self.top_k or 0),
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
        )

    def top(self) -> int | None:
        """How many alternatives of each token are told. Raises `BadBody`."""
        if self.logprobs is not None and not self.response_logprobs:
            at = "generationConfig.logprobs"
            raise BadBody(f"{at}: responseLogprobs must be true for it.", at)
        return (self.logprobs or 0) if self.response_logprobs else None

    def constraint(self) -> Constraint | None:
        """What the answer must look like. Raises `BadBody`."""
        schema: dict[str, Any] | bool | None = self.response_json_schema
        if self.response_schema is not None:
            schema = json_schema(self.response_schema)
        kind, at = self.response_mime_type or PLAIN, "generationConfig.responseMimeType"
        if kind == PLAIN:
            if schema is not None:
                raise BadBody(f"{at}: it must be {JSON} where there is a schema.", at)
            return None
        if kind == JSON:
            return Constraint(json_schema=True if schema in (None, False) else schema)
        choice = schema.get("enum") if isinstance(schema, dict) else None
        if kind != ENUM or not isinstance(choice, list):
            raise BadBody(f"{at}: '{kind[:40]}' is not known, or has no enum.", at)
        return Constraint(choice=tuple(str(one) for one in choice))


class SafetySetting(GeminiBody):
    category: str | None = None
    threshold: str | None = None

    def unheeded(self) -> tuple[str, ...]:
        """Nothing is filtered here."""
        off = self.threshold in (None, "OFF", "BLOCK_NONE", "HARM_BLOCK_THRESHOLD_UNSPECIFIED")
        return (*super().unheeded(), *(() if off else ("threshold",)))


class GenerateBody(GeminiBody):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"labels": ANY, "model": ANY, "store": False}

    contents: list[Content] = Field(min_length=1)
    generation_config: GenerationConfig | None = None
    safety_settings: list[SafetySetting] | None = None
    system_instruction: Content | None = None
    tool_config: ToolConfig | None = None
    tools: list[Tool] | None = None

    def turns(self) -> list[dict[str, Any]]:
        system = self.system_instruction
        first = list[dict[str, Any]]()
        if system is not None:
            first.append({"role": "system", "content": text_of(system, "systemInstruction")})
        return [*first, *messages(self.contents)]

    def ask(self, model: str, stream: bool, unheeded: tuple[str, ...]) -> GeminiAsk:
        how = self.generation_config or GenerationConfig()
        thinking = how.thinking_config or ThinkingConfig()
        tools, choice = choose(self.tools or (), self.tool_config)
        request = Request(
            messages=self.turns(),
            max_tokens=how.max_output_tokens,
            sampling=how.sampling(),
            stop=tuple(how.stop_sequences or ()),
            n=how.candidate_count or 1,
            logprobs=how.top(),
            constraint=how.constraint(),
            tools=tools or None,
            tool_choice=choice,
        )
        budget = thinking.thinking_budget
        return GeminiAsk(
            model,
            (request,),
            stream,
            unheeded=unheeded,
            think=None if budget is None else budget != 0,
            thoughts=bool(thinking.include_thoughts),
        )


class CountBody(GeminiBody):
    """Of countTokens: the contents alone, or a call."""

    contents: list[Content] | None = None
    generate_content_request: GenerateBody | None = None


def read(raw: bytes, *, model: str, stream: bool = False, lenient: bool = False) -> GeminiAsk:
    """The call; model and stream are in its path. Raises `BadBody`."""
    body, unheeded = parse(raw, GenerateBody, lenient=lenient)
    return body.ask(model, stream, unheeded)


def read_count(raw: bytes, *, model: str, lenient: bool = False) -> GeminiAsk:
    """A call of which only the tokens of the prompt are asked. Raises `BadBody`."""
    body, unheeded = parse(raw, CountBody, lenient=lenient)
    if (asked := body.generate_content_request) is None:
        if not body.contents:
            raise BadBody("contents: they are missing.", "contents")
        asked = GenerateBody(contents=body.contents)
    return asked.ask(model, False, unheeded)


def count_json(tokens: int) -> dict[str, int]:
    return {"totalTokens": tokens}


def write(ask: Ask) -> dict[str, Any]:
    """The body that asks for it; model and stream are in the path. What the dialect has no room for
    is left out: see `Backend.capabilities`."""
    request, how = ask.request, ask.request.sampling
    assert request.messages is not None
    system, contents = written(request.messages)
    said: dict[str, Any] = {"contents": contents}
    if system is not None:
        said["systemInstruction"] = {"parts": [{"text": system}]}
    thinking: dict[str, Any] = {"includeThoughts": True}
    if ask.think is not None:
        thinking["thinkingBudget"] = -1 if ask.think else 0
    wants_thoughts = ask.think or (isinstance(ask, GeminiAsk) and ask.thoughts)
    config: dict[str, Any] = {
        "temperature": how.temperature,
        "topP": None if how.top_p == 1 else how.top_p,
        "topK": how.top_k or None,
        "candidateCount": None if request.n == 1 else request.n,
        "maxOutputTokens": request.max_tokens,
        "stopSequences": list(request.stop) or None,
        "seed": how.seed,
        "presencePenalty": how.presence_penalty or None,
        "frequencyPenalty": how.frequency_penalty or None,
        "responseLogprobs": None if request.logprobs is None else True,
        "logprobs": request.logprobs,
        "thinkingConfig": thinking if wants_thoughts or ask.think is not None else None,
    }
    if request.constraint is not None and request.constraint.json_schema is not None:
        config["responseMimeType"] = JSON
        if request.constraint.json_schema is not True:
            config["responseJsonSchema"] = request.constraint.json_schema
    elif request.constraint is not None and request.constraint.choice is not None:
        config["responseMimeType"] = ENUM
        config["responseSchema"] = {"type": "STRING", "enum": list(request.constraint.choice)}
    said["generationConfig"] = {name: one for name, one in config.items() if one is not None}
    return {**said, **tool_fields(request)}
