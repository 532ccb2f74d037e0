"""ShareGPT's shape: what each one said, with LLaMA-Factory's names for calls of tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.training.conversations.read import (
    Conversation,
    Message,
    Reading,
    Wrong,
    call_of,
    conversation,
    parsed,
    text,
)

EXAMPLE = (
    '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}], '
    '"system": "…", "tools": "[…]"}'
)
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
    "function_response": "tool",
}
_CALLS = ("function_call", "tool_call")


def takes(row: Mapping[str, Any]) -> bool:
    """Whether it has a list of {"from", "value"}."""
    return isinstance(_turns(row), list)


def read(row: Mapping[str, Any], reading: Reading) -> list[Conversation]:
    """The one conversation; calls that follow each other are one turn of the assistant's."""
    reading.leave(row, ("conversations", "conversation", "system", "tools"))
    messages: list[Message] = []
    if system := text(row.get("system"), "'system'"):
        messages.append({"role": "system", "content": system})
    for turn, one in enumerate(_turns(row), start=1):
        if not isinstance(one, Mapping) or not {"from", "value"} <= one.keys():
            raise Wrong(f'turn {turn} is not {{"from", "value"}}')
        reading.leave(one, ("from", "value"), "conversations.")
        speaker = one["from"]
        if speaker in _CALLS:
            calls = parsed(one["value"], f"the call of turn {turn}")
            made = [
                call_of(call, f"the call of turn {turn}")
                for call in (calls if isinstance(calls, list) else [calls])
            ]
            before = messages[-1] if messages else {}
            if before.get("role") != "assistant":
                before = {"role": "assistant"}
                messages.append(before)
            before["tool_calls"] = [*before.get("tool_calls", []), *made]
        elif speaker in _SPEAKERS:
            content = text(one["value"], f"what turn {turn} says")
            messages.append({"role": _SPEAKERS[speaker], "content": content})
        else:
            known = ", ".join([*_SPEAKERS, *_CALLS])
            raise Wrong(f"turn {turn} is from {speaker!r}", f"Known are {known}.")
    return [conversation(messages, row.get("tools"))]


def _turns(row: Mapping[str, Any]) -> Any:
    return row.get("conversations", row.get("conversation"))
