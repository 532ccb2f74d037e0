"""What the readers of all shapes share."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from langwright.tokens.messages import REASONING, ROLES

Message = dict[str, Any]
Conversation = dict[str, Any]
"""{"messages": […], "tools"?: […]}, both in OpenAI's form, arguments of calls as tables."""

REMEDY = "Correct it, or take it out."


class Wrong(ValueError):
    """What is wrong with an object, and what to do about it."""

    def __init__(self, what: str, remedy: str = REMEDY) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


@dataclass
class Reading:
    """What is to be told of a file: the fields that nothing was made of."""

    unread: dict[str, int] = field(default_factory=dict)

    def leave(self, table: Mapping[str, Any], read: Collection[str], where: str = "") -> None:
        """Count the fields of `table` that have a value and are not among those `read`."""
        for key, value in table.items():
            if key not in read and value not in (None, "", [], {}):
                self.unread[where + key] = self.unread.get(where + key, 0) + 1


def text(value: Any, what: str) -> str:
    """A string; None is the empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Wrong(f"{what} is no text but {type(value).__name__}")
    return value


def parsed(value: Any, what: str) -> Any:
    """A value, or that of its JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise Wrong(f"{what} is not JSON ({error})") from None


def call_of(value: Any, what: str) -> dict[str, Any]:
    """A call of a tool in OpenAI's form, of that form or of {"name", "arguments"}."""
    table = parsed(value, what)
    function = table.get("function", table) if isinstance(table, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Wrong(f'{what} is not {{"name", "arguments"}}')
    arguments = parsed(function.get("arguments") or {}, f"the arguments of {what}")
    if not isinstance(arguments, dict):
        raise Wrong(f"the arguments of {what} are no table")
    call = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return ({"id": table["id"]} if table.get("id") else {}) | call


def tools_of(value: Any) -> list[dict[str, Any]]:
    """Tools in OpenAI's form, of that form or of {"name", "description", "parameters"}; also as
    JSON text."""
    tools = parsed(value, "'tools'") or []
    if not isinstance(tools, list):
        raise Wrong("'tools' is no list")
    found = []
    for tool in tools:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Wrong('a tool is not {"name", "description", "parameters"}')
        found.append({"type": "function", "function": function})
    return found


def conversation(messages: list[Message], tools: Any = None) -> Conversation:
    """The messages with their tools, if they are ones that can be learnt from."""
    if not messages:
        raise Wrong("it has no messages")
    for turn, message in enumerate(messages, start=1):
        if message["role"] not in ROLES:
            raise Wrong(
                f"turn {turn} has the role {message['role']!r}", f"Use one of {', '.join(ROLES)}."
            )
        if not message.get("tool_calls") and not isinstance(message.get("content"), str):
            raise Wrong(f"turn {turn} has no content")
    if not any(message["role"] == "assistant" for message in messages):
        raise Wrong("it has no turn of the assistant's")
    made = tools_of(tools)
    return {"messages": messages} | ({"tools": made} if made else {})


def thought_of(message: Mapping[str, Any]) -> str:
    """What a message says was thought before it, under any name."""
    return next((text(message[key], f"'{key}'") for key in REASONING if message.get(key)), "")
