"""Comparisons as rows of tokens, divided into those learnt from and those held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from langwright.errors import BadInput
from langwright.progress import say
from langwright.tokens import ChatTemplate
from langwright.training.answers import AnswerRow, encode_answer
from langwright.training.comparisons import Comparison
from langwright.training.epochs import held_out

SHOWN = 5


@dataclass(frozen=True)
class Preferred:
    """The answers to one prompt, better ones having lower `ranks`; `certainty` and `margin` as in
    `Comparison`."""

    rows: tuple[AnswerRow, ...]
    ranks: tuple[int, ...]
    certainty: float = 1.0
    margin: float = 0.0
    source: str = ""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse), by their places in `rows`."""
        places = range(len(self.rows))
        return [(a, b) for a in places for b in places if self.ranks[a] < self.ranks[b]]

    def apart(self) -> list[Preferred]:
        """Each pair by itself."""
        return [
            Preferred(
                (self.rows[a], self.rows[b]), (0, 1), self.certainty, self.margin, self.source
            )
            for a, b in self.pairs
        ]


def encode_comparisons(
    comparisons: Sequence[Comparison],
    template: ChatTemplate | None,
    context_length: int,
    validation_fraction: float,
) -> tuple[list[Preferred], list[Preferred]]:
    """Those learnt from and those held out, by the hash of the prompt: so no prompt is in both.
    Answers longer than `context_length` with their prompt are left out, and ties, both of which is
    said; raises `BadInput` that names the comparison, or where too few are left."""
    found: list[tuple[bytes, Preferred]] = []
    too_long: list[int] = []
    ties = 0
    for number, one in enumerate(comparisons, start=1):
        rows: list[AnswerRow] = []
        ranks: list[int] = []
        for answer, rank in zip(one.answers, one.ranks, strict=True):
            try:
                row = encode_answer(template, one.messages, answer)
            except BadInput as error:
                text = f"Comparison {number}: {error.message}"
                raise BadInput(text, remedy=error.remedy) from None
            if len(row.ids) <= context_length:
                rows.append(row)
                ranks.append(rank)
        if len(rows) < len(one.answers):
            too_long.append(number)
        preferred = Preferred(
            tuple(rows), tuple(ranks), one.certainty, one.margin or 0.0, one.source or f"{number}"
        )
        if preferred.pairs:
            key = json.dumps([dict(message) for message in one.messages], sort_keys=True)
            found.append((key.encode(), preferred))
        elif len(rows) == len(one.answers):
            ties += 1
    if too_long:
        say(
            f"In {len(too_long)} comparisons an answer with its prompt is longer than "
            f"{context_length} tokens and is left out ({shortly(too_long)}); a larger "
            "context_length keeps it."
        )
    if ties:
        say(f"{ties} comparisons are ties, of which nothing is learnt.")
    if len({key for key, _ in found}) < 2:
        raise BadInput(
            f"{len(found)} comparisons of different prompts are left to learn from.",
            remedy="Give more, or a larger context_length.",
        )
    out = held_out([key for key, _ in found], validation_fraction)
    train = [one for (_, one), chosen in zip(found, out, strict=True) if not chosen]
    if not train:
        raise BadInput("All comparisons were held out.", remedy="Lower validation_fraction.")
    return train, [one for (_, one), chosen in zip(found, out, strict=True) if chosen]


def shortly(numbers: Sequence[int]) -> str:
    """The first of them."""
    return ", ".join(map(str, numbers[:SHOWN])) + (" …" if len(numbers) > SHOWN else "")
