"""Gemini's tools: https://ai.google.dev/api/caching#Tool"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from langwright.backend import Request
from langwright.wire import turns
from langwright.wire.body import BadBody
from langwright.wire.gemini.contents import GeminiBody
from langwright.wire.gemini.schema import json_schema

WHERE = "toolConfig.functionCallingConfig.allowedFunctionNames"


class FunctionDeclaration(GeminiBody):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"behavior": ("UNSPECIFIED", "BLOCKING")}

    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        schema = self.parameters_json_schema
        if self.parameters is not None:
            schema = json_schema(self.parameters)
        return turns.tool(self.name, self.description, schema)


class Tool(GeminiBody):
    """The server's own tools (googleSearch …) are none here."""

    function_declarations: list[FunctionDeclaration] | None = None


class FunctionCallingConfig(GeminiBody):
    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] | None = None
    allowed_function_names: list[str] | None = None


class ToolConfig(GeminiBody):
    function_calling_config: FunctionCallingConfig | None = None


def choose(tools: Sequence[Tool], config: ToolConfig | None) -> tuple[list[dict[str, Any]], str]:
    """The tools, and whether one is called. Where not all may be called, the others are not told.

    Raises `BadBody` for names that are no tools.
    """
    found = [one.plain() for tool in tools for one in tool.function_declarations or ()]
    how = (config and config.function_calling_config) or FunctionCallingConfig()
    allowed, mode = how.allowed_function_names or [], how.mode or "AUTO"
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise BadBody(f"{WHERE}: the mode must be ANY for it.", WHERE)
    names = [one["function"]["name"] for one in found]
    if strange := next((name for name in allowed if name not in names), None):
        raise BadBody(f"{WHERE}: there is no function '{strange}'.", WHERE)
    if mode == "NONE" or not found:
        return found, "none" if mode == "NONE" else _without_tools(mode)
    if mode != "ANY":
        return _only(found, allowed), "auto"
    if len(allowed) == 1:
        return found, allowed[0]
    return _only(found, allowed), "required"


def _only(tools: list[dict[str, Any]], allowed: Sequence[str]) -> list[dict[str, Any]]:
    return [one for one in tools if not allowed or one["function"]["name"] in allowed]


def _without_tools(mode: str) -> str:
    if mode == "ANY":
        at = "toolConfig.functionCallingConfig.mode"
        raise BadBody(f"{at}: there are no functions.", at)
    return "auto"


def tool_fields(request: Request) -> dict[str, Any]:
    """What the call says of a request's tools."""
    if not request.tools:
        return {}
    declared = []
    for one in request.tools:
        function = dict(one["function"])
        schema = function.pop("parameters", None)
        declared.append(
            function if schema is None else {**function, "parametersJsonSchema": schema}
        )
    choice = request.tool_choice
    config: dict[str, Any] = {"mode": {"auto": "AUTO", "none": "NONE"}.get(choice, "ANY")}
    if choice not in ("auto", "none", "required"):
        config["allowedFunctionNames"] = [choice]
    return {
        "tools": [{"functionDeclarations": declared}],
        "toolConfig": {"functionCallingConfig": config},
    }
