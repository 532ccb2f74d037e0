"""Single answers that somebody called good or bad (KTO's data)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langwright.errors import BadInput
from langwright.text.rows import at_row, read_rows
from langwright.training.messages import Message, check_prompt, is_text

JUDGED = "judged.jsonl"
"""The file in an artifact of kind `judged`."""

SHAPE = '{"messages": [{"role", "content"}, …], "answer": "…", "label": true}'


@dataclass(frozen=True)
class Judged:
    """`answer` is what the assistant could say next in `messages`; `label` tells whether it is
    good. Raises `BadInput` for what is no such thing."""

    messages: Sequence[Message]
    answer: str
    label: bool
    source: str | None = None

    def __post_init__(self) -> None:
        check_prompt(self.messages)
        if not is_text(self.answer) or not isinstance(self.label, bool):
            raise BadInput(
                "The answer is no text, or the label neither true nor false.",
                remedy=f"Write {SHAPE}.",
            )

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Judged:
        try:
            return cls(**row)
        except TypeError:
            raise BadInput("This is no judged answer.", remedy=f"Write {SHAPE}.") from None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def read_judged(path: Path) -> list[Judged]:
    """The judged answers of a file that has exactly this form; raises `BadInput` with the line."""
    found = []
    for number, row in read_rows(path, SHAPE):
        try:
            found.append(Judged.from_json(row))
        except BadInput as error:
            raise at_row(path, number, error) from None
    return found


def write_judged(folder: Path, judged: Iterable[Judged]) -> None:
    """The file of an artifact, in `folder`."""
    with (folder / JUDGED).open("w", encoding="utf-8", newline="\n") as file:
        for one in judged:
            file.write(json.dumps(one.to_json(), ensure_ascii=False) + "\n")
