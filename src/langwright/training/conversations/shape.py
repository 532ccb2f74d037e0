"""The shapes that data for fine-tuning comes in, told apart by the fields of an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langwright.errors import BadInput
from langwright.training.conversations import alpaca, completion, openai, self_instruct, sharegpt
from langwright.training.conversations.read import Conversation, Reading, Wrong

_JUDGED = ("chosen", "rejected", "chosen_messages", "rejected_messages", "answers")
"""Fields of data that says which answers are better: to learn from all of them would be wrong."""


@dataclass(frozen=True)
class Shape:
    """`name` is what people call it; `takes` says of an object's fields whether it is of the shape,
    `read` makes conversations of it; `example` is one line."""

    name: str
    takes: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Mapping[str, Any], Reading], list[Conversation]]
    example: str


SHAPES = (
    Shape("messages", openai.takes, openai.read, openai.EXAMPLE),
    Shape("sharegpt", sharegpt.takes, sharegpt.read, sharegpt.EXAMPLE),
    Shape("self-instruct", self_instruct.takes, self_instruct.read, self_instruct.EXAMPLE),
    Shape("alpaca", alpaca.takes, alpaca.read, alpaca.EXAMPLE),
    Shape("prompt and completion", completion.takes, completion.read, completion.EXAMPLE),
)


def shape_of(row: Mapping[str, Any]) -> Shape:
    """The shape of an object. Raises `Wrong` for one of none, and for judged answers."""
    judged = [field for field in _JUDGED if row.get(field) is not None]
    judged += ["label"] if isinstance(row.get("label"), bool) else []
    if judged:
        raise Wrong(
            f"it has '{judged[0]}': answers that are judged, not answers to learn",
            "Data of preferences is for other stages; take the answers that you want learnt.",
        )
    for shape in SHAPES:
        if shape.takes(row):
            return shape
    fields = ", ".join(f"'{key}'" for key in list(row)[:12]) or "no fields"
    raise Wrong(f"it has {fields}, and so none of the known shapes", known())


def known() -> str:
    """The shapes for people, one on a line."""
    return "One object is\n" + "\n".join(f"  {one.name}: {one.example}" for one in SHAPES)


def error_at(where: str, wrong: Wrong) -> BadInput:
    """What is wrong, with the place of the object."""
    return BadInput(f"{where}: {wrong.what}.", remedy=wrong.remedy)
