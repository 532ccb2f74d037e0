"""OpenAI's messages, as its fine-tuning and chat have them; also with parts of content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.tokens.messages import REASONING
from langwright.training.conversations.read import (
    Conversation,
    Message,
    Reading,
    Wrong,
    call_of,
    conversation,
    text,
    thought_of,
)

EXAMPLE = (
    '{"messages": [{"role": "user", "content": "Hi"}, '
    '{"role": "assistant", "content": "Hello!"}], "tools": […]}'
)
_ROLES = {"developer": "system"}
_PLAIN = ("name", "tool_call_id")
_READ = ("role", "content", "tool_calls", "weight", "loss_weight", *REASONING, *_PLAIN)


def takes(row: Mapping[str, Any]) -> bool:
    """Whether it has messages, under that name or as `conversations` of roles."""
    return _field(row) is not None


def read(row: Mapping[str, Any], reading: Reading) -> list[Conversation]:
    """The one conversation."""
    field = _field(row)
    assert field is not None
    messages = row[field]
    if not isinstance(messages, list):
        raise Wrong(f"'{field}' is no list")
    reading.leave(row, (field, "tools"))
    made = [message_of(one, turn, reading) for turn, one in enumerate(messages, start=1)]
    return [conversation(made, row.get("tools"))]


def message_of(given: Any, turn: int, reading: Reading) -> Message:
    """A message in our form: content is text, calls have tables as arguments."""
    if not isinstance(given, Mapping) or not isinstance(given.get("role"), str):
        raise Wrong(f"turn {turn} is no message", f"One object is {EXAMPLE}.")
    reading.leave(given, _READ, "messages.")
    speaker: str = given["role"]
    role = _ROLES.get(speaker, speaker)
    content, thought, calls = _parts(given.get("content"), turn)
    thought = thought or thought_of(given)
    calls += given.get("tool_calls") or []
    message: Message = {"role": role}
    if content is not None:
        message["content"] = content
    if thought:
        message["reasoning_content"] = thought
    if calls:
        if role != "assistant":
            raise Wrong(f"turn {turn} is the {role}'s and calls tools")
        message["tool_calls"] = [call_of(one, f"a call of turn {turn}") for one in calls]
    for key in _PLAIN:
        if given.get(key):
            message[key] = text(given[key], f"'{key}' of turn {turn}")
    return message | _weight(given, role, turn)


def _field(row: Mapping[str, Any]) -> str | None:
    if row.get("messages") is not None:
        return "messages"
    other = row.get("conversations")
    first = other[0] if isinstance(other, list) and other else None
    return "conversations" if isinstance(first, Mapping) and "role" in first else None


def _weight(given: Mapping[str, Any], role: str, turn: int) -> Message:
    """`weight` 0 or 1 of an assistant's turn; it says whether the turn is learnt."""
    weight = given.get("weight", given.get("loss_weight"))
    if weight is None or (role != "assistant" and weight == 0):
        return {}
    if role != "assistant" or weight not in (0, 1):
        raise Wrong(
            f"turn {turn}, the {role}'s, has the weight {weight}",
            "Only the assistant's turns are learnt, with a weight of 0 or 1.",
        )
    return {} if weight == 1 else {"weight": 0}


def _parts(content: Any, turn: int) -> tuple[str | None, str, list[Any]]:
    """Text, thoughts and calls of a content, which is a string or a list of parts."""
    if content is None or isinstance(content, str):
        return content, "", []
    if not isinstance(content, list):
        raise Wrong(f"the content of turn {turn} is no text")
    texts, thoughts, calls = [], [], []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        value = part.get("text", part.get("value")) if isinstance(part, Mapping) else None
        if kind == "text":
            texts.append(text(value, f"a part of turn {turn}"))
        elif kind == "reasoning":
            thoughts.append(text(value, f"a part of turn {turn}"))
        elif kind == "tool_call":
            calls.append(value)
        else:
            raise Wrong(
                f"turn {turn} has a part of type {kind!r}", "Only text can be learnt from here."
            )
    return "".join(texts) if texts else None, "".join(thoughts), calls
