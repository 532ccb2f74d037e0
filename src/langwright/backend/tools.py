"""Tools that a model may call, and its calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ToolChoice = Literal["auto", "none", "required"] | str
"""`auto`: the model decides; `required`: it calls at least one; any other text: the tool of that
name, once."""


@dataclass(frozen=True)
class ToolCall:
    """A call as the model wrote it: `arguments` is the text of a JSON object. `id` tells it from
    others of the same answer."""

    id: str
    name: str
    arguments: str
