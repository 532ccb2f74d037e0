"""Self-Instruct's seed tasks: an instruction with instances of input and output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.training.conversations.alpaca import asked, exchange
from langwright.training.conversations.read import (
    Conversation,
    Reading,
    Wrong,
    conversation,
    text,
)

EXAMPLE = '{"instruction": "Add.", "instances": [{"input": "1 and 2", "output": "3"}]}'


def takes(row: Mapping[str, Any]) -> bool:
    """Whether it has an instruction with instances."""
    return "instruction" in row and "instances" in row


def read(row: Mapping[str, Any], reading: Reading) -> list[Conversation]:
    """A conversation for each instance."""
    reading.leave(row, ("instruction", "instances"))
    instruction, instances = text(row["instruction"], "'instruction'"), row["instances"]
    if not isinstance(instances, list) or not instances:
        raise Wrong('\'instances\' is no list of {"input", "output"}')
    found = []
    for one in instances:
        if not isinstance(one, Mapping) or "output" not in one:
            raise Wrong("an instance has no 'output'")
        reading.leave(one, ("input", "output"), "instances.")
        question = asked(instruction, text(one.get("input"), "'input'"))
        found.append(conversation(exchange(question, text(one["output"], "'output'"))))
    return found
