"""Single answers that somebody called good or bad (KTO's data)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langwright.errors import BadInput
from langwright.progress import say
from langwright.store import Artifact, Store
from langwright.text.rows import at_row, read_rows
from langwright.training.comparisons import Comparison, comparisons_of
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


def judged_of(artifact: Artifact, store: Store) -> list[Judged]:
    """Those of an artifact of kind `judged`, or comparisons taken apart (`taken_apart`). Raises
    `BadInput` for one of another kind."""
    if artifact.kind == "judged":
        return read_judged(store.path(artifact) / JUDGED)
    return taken_apart(comparisons_of(artifact, store))


def taken_apart(comparisons: Sequence[Comparison]) -> list[Judged]:
    """The best answers of each comparison, as good ones, and the worst, as bad ones. Says so, and
    what is lost: answers between them, ties, and how certain anybody was."""
    found, between, ties, unsure = [], 0, 0, 0
    for number, one in enumerate(comparisons, start=1):
        best, worst = min(one.ranks), max(one.ranks)
        if best == worst:
            ties += 1
            continue
        unsure += one.certainty < 1
        for answer, rank in zip(one.answers, one.ranks, strict=True):
            if rank in (best, worst):
                source = one.source or f"{number}"
                found.append(Judged(one.messages, answer, rank == best, source))
            else:
                between += 1
    say(
        f"{len(comparisons)} comparisons are taken apart: the best answers are good, the worst bad."
    )
    if between:
        say(f"{between} answers lie between the best and the worst and are left out.")
    if ties:
        say(f"{ties} comparisons are ties, of which nothing is learnt.")
    if unsure:
        say(f"{unsure} comparisons have a probability, which is taken as certainty.")
    return found
