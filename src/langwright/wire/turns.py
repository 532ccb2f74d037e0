"""The turns of a conversation, in the form that `Request.messages` has; see `tokens.messages`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langwright.backend import ToolCall
from langwright.errors import LangwrightError


def call(ident: str | None, name: str, arguments: str) -> dict[str, Any]:
    """A call as an assistant's turn carries it."""
    told = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return told if ident is None else {"id": ident, **told}


def tool(
    name: str, description: str | None, parameters: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A tool as a chat template takes it."""
    told = {"name": name, "description": description, "parameters": parameters}
    return {
        "type": "function",
        "function": {key: one for key, one in told.items() if one is not None},
    }


def assistant(
    text: str | None, thought: str | None, calls: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What an assistant said; a turn that is a call alone has no content."""
    told: dict[str, Any] = {"role": "assistant"}
    if text is not None or not calls:
        told["content"] = text or ""
    if thought:
        told["reasoning_content"] = thought
    if calls:
        told["tool_calls"] = list(calls)
    return told


def text_of(turn: Mapping[str, Any]) -> str:
    """What a turn says, be it one text or parts of text."""
    said = turn.get("content") or ""
    if isinstance(said, str):
        return said
    return "".join(str(part.get("text") or "") for part in said)


def calls_of(turn: Mapping[str, Any]) -> list[ToolCall]:
    """The calls in an assistant's turn, their arguments as text."""
    found = []
    for one in turn.get("tool_calls") or []:
        function = one["function"]
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = compact(arguments)
        found.append(ToolCall(one.get("id") or "", function["name"], arguments))
    return found


def table(call: ToolCall) -> dict[str, Any]:
    """The arguments of a call as an object. Raises `LangwrightError` where they are none."""
    try:
        found = json.loads(call.arguments or "{}", parse_constant=_no_number)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise LangwrightError(
            f"The model calls '{call.name}' with arguments that are no JSON object.",
            remedy="Ask again.",
        )
    return found


def compact(value: Any) -> str:
    """JSON of one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
