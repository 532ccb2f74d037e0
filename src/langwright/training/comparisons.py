"""Comparisons: two or more answers to one prompt, and which of them somebody preferred."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

from langwright.errors import BadInput, suggest
from langwright.store import Artifact, Store
from langwright.text.rows import at_row, read_rows
from langwright.training.messages import Message, check_prompt, is_text

COMPARISONS = "comparisons.jsonl"
"""The file in an artifact of kind `comparisons`."""

SHAPE = '{"messages": [{"role", "content"}, …], "answers": ["…", "…"], "ranks": [0, 1]}'


@dataclass(frozen=True)
class Comparison:
    """`answers`, two or more different ones, are what the assistant could say next in `messages`.

    `ranks`, one of each answer: 0 is the best, equal ones are ties. `probability`, of two answers:
    how probable it is that the first is the better one (a soft label); without it the ranks are
    certain. `margin`: by how much the better one is better, in the units of a reward. `rater`: who
    said so, `at` when (ISO 8601). `models`: what wrote each answer, and `sampling` how. `source`:
    where it comes from. `principle`: the rule that a judge chose by, and `orders` the
    probability as it was when the answers were shown in this order and in the other.

    Raises `BadInput` for what contradicts itself.
    """

    messages: Sequence[Message]
    answers: Sequence[str]
    ranks: Sequence[int]
    probability: float | None = None
    margin: float | None = None
    rater: str | None = None
    at: str | None = None
    models: Sequence[str] | None = None
    sampling: Mapping[str, Any] | None = None
    source: str | None = None
    principle: str | None = None
    orders: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_prompt(self.messages)
        if wrong := self._wrong():
            raise BadInput(f"{wrong[0].upper()}{wrong[1:]}.", remedy=f"Write {SHAPE}.")

    def _wrong(self) -> str | None:
        """The first thing that is wrong with it, in words."""
        num = len(self.answers)
        if isinstance(self.answers, str) or num < 2:
            return "there are not two answers or more"
        if not all(is_text(answer) for answer in self.answers):
            return "an answer is no text"
        if len(set(self.answers)) < num:
            return "two of the answers are the same"
        if len(self.ranks) != num or not all(_is_rank(rank) for rank in self.ranks):
            return f"'ranks' are not {num} whole numbers from 0 on"
        for key in ("probability", "margin"):
            if not (getattr(self, key) is None or _is_number(getattr(self, key))):
                return f"'{key}' is no finite number"
        for key in ("rater", "at", "source", "principle"):
            if not isinstance(getattr(self, key), str | None):
                return f"'{key}' is no text"
        if self.models is not None and (isinstance(self.models, str) or len(self.models) != num):
            return f"'models' are not {num} names"
        if self.orders is not None and not all(_is_number(one) for one in self.orders):
            return "'orders' are no finite numbers"
        if self.sampling is not None and not isinstance(self.sampling, Mapping):
            return "'sampling' is no table"
        return self._wrong_probability()

    def _wrong_probability(self) -> str | None:
        if self.probability is None:
            return None
        if len(self.answers) != 2:
            return f"a probability is of two answers, and there are {len(self.answers)}"
        if not 0 <= self.probability <= 1:
            return f"'probability' is {self.probability}, not between 0 and 1"
        # The sign of each says which answer is the better one.
        if (self.probability - 0.5) * (self.ranks[1] - self.ranks[0]) < 0 or (
            self.probability != 0.5 and self.ranks[0] == self.ranks[1]
        ):
            return f"the ranks {list(self.ranks)} contradict the probability {self.probability}"
        return None

    def pairs(self) -> list[tuple[str, str]]:
        """Every two answers of which one is better: (better, worse), in the order of the answers.
        Ties give none."""
        ranked = zip(self.ranks, self.answers, strict=True)
        return [
            (first, second) if one < other else (second, first)
            for (one, first), (other, second) in combinations(ranked, 2)
            if one != other
        ]

    @property
    def certainty(self) -> float:
        """How probable it is that the better answer of a pair is the better one: 1 without a soft
        label, else 0.5 to 1."""
        return 1.0 if self.probability is None else max(self.probability, 1 - self.probability)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Comparison:
        """The comparison of a line. Raises `BadInput`, also for a field that is not known."""
        known = [one.name for one in fields(cls)]
        for key in row:
            if key not in known:
                raise BadInput(f"There is a field '{key}'.", remedy=suggest(key, known))
        for key in known[:3]:
            if not isinstance(row.get(key), list):
                raise BadInput(f"There is no list '{key}'.", remedy=f"Write {SHAPE}.")
        return cls(**row)

    def to_json(self) -> dict[str, Any]:
        """The object of a line: what is not known is left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {key: value for key, value in values.items() if value is not None}


def read_comparisons(path: Path) -> list[Comparison]:
    """The comparisons of a file that has exactly this form, in order; raises `BadInput` that names
    the line of what is none."""
    found = []
    for number, row in read_rows(path, SHAPE):
        try:
            found.append(Comparison.from_json(row))
        except BadInput as error:
            raise at_row(path, number, error) from None
    return found


def write_comparisons(folder: Path, comparisons: Iterable[Comparison]) -> None:
    """The file of an artifact, in `folder`."""
    with (folder / COMPARISONS).open("w", encoding="utf-8", newline="\n") as file:
        for one in comparisons:
            file.write(json.dumps(one.to_json(), ensure_ascii=False) + "\n")


def comparisons_of(artifact: Artifact, store: Store) -> list[Comparison]:
    """Those of an artifact; raises `BadInput` for one of another kind."""
    if artifact.kind != "comparisons":
        raise BadInput(
            f"'{artifact.name}' is of the kind {artifact.kind}, not comparisons.",
            remedy="`langwright compare --import FILE` makes one of a file.",
        )
    return read_comparisons(store.path(artifact) / COMPARISONS)


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    )
