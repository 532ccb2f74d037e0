"""A prompt and its completion, both as text or both as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.training.conversations.alpaca import exchange
from langwright.training.conversations.openai import message_of
from langwright.training.conversations.read import (
    Conversation,
    Reading,
    Wrong,
    conversation,
    text,
)

EXAMPLE = '{"prompt": "1 + 2 =", "completion": "3"}'
_ANSWERS = ("completion", "response")


def takes(row: Mapping[str, Any]) -> bool:
    """Whether it has both."""
    return "prompt" in row and any(name in row for name in _ANSWERS)


def read(row: Mapping[str, Any], reading: Reading) -> list[Conversation]:
    """The one conversation. Blanks around a text are left out: they belong to raw text, where
    the completion was to be joined to the prompt. Of messages the completion's alone are learnt."""
    name = next(name for name in _ANSWERS if name in row)
    reading.leave(row, ("prompt", "tools", name))
    prompt, answer = row["prompt"], row[name]
    if isinstance(prompt, list) and isinstance(answer, list):
        asked = [message_of(one, turn, reading) for turn, one in enumerate(prompt, start=1)]
        for message in asked:
            if message["role"] == "assistant":
                message["weight"] = 0
        begin = len(prompt) + 1
        told = [message_of(one, turn, reading) for turn, one in enumerate(answer, start=begin)]
        return [conversation([*asked, *told], row.get("tools"))]
    if isinstance(prompt, list) or isinstance(answer, list):
        raise Wrong(f"of 'prompt' and '{name}' one is text and the other is not")
    question, answer = text(prompt, "'prompt'").strip(), text(answer, f"'{name}'").strip()
    return [conversation(exchange(question, answer), row.get("tools"))]
