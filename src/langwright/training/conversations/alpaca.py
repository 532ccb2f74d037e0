"""Alpaca's shape: an instruction, an input for it, the output. Dolly's names are taken as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.training.conversations.read import (
    Conversation,
    Message,
    Reading,
    Wrong,
    conversation,
    text,
)

EXAMPLE = (
    '{"instruction": "Add.", "input": "1 and 2", "output": "3", "system": "…", '
    '"history": [["question", "answer"]]}'
)
_OUTPUT, _INPUT = ("output", "response"), ("input", "context")
_READ = ("instruction", "system", "history", "tools", *_OUTPUT, *_INPUT)


def takes(row: Mapping[str, Any]) -> bool:
    """Whether it has an instruction and an output."""
    return "instruction" in row and any(name in row for name in _OUTPUT)


def read(row: Mapping[str, Any], reading: Reading) -> list[Conversation]:
    """The one conversation: the system's words, the history, the instruction and its output."""
    reading.leave(row, _READ)
    messages: list[Message] = []
    if system := text(row.get("system"), "'system'"):
        messages.append({"role": "system", "content": system})
    history = row.get("history") or []
    for pair in history if isinstance(history, list) else [history]:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Wrong("'history' is no list of [question, answer]")
        messages += exchange(*(text(part, "'history'") for part in pair))
    given, output = (
        next((text(row[name], f"'{name}'") for name in names if name in row), "")
        for names in (_INPUT, _OUTPUT)
    )
    messages += exchange(asked(text(row["instruction"], "'instruction'"), given), output)
    return [conversation(messages, row.get("tools"))]


def asked(instruction: str, given: str) -> str:
    """The instruction, and on the next line what it is about."""
    return f"{instruction}\n{given}" if given.strip() else instruction


def exchange(question: str, answer: str) -> list[Message]:
    """A question and its answer."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
