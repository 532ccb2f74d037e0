"""Judged answers as rows of tokens, divided into those learnt from and those held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from langwright.errors import BadInput
from langwright.progress import say
from langwright.tokens import ChatTemplate
from langwright.training.answers import AnswerRow, encode_answer
from langwright.training.epochs import held_out
from langwright.training.judged import Judged
from langwright.training.preferences import shortly


@dataclass(frozen=True)
class Labelled:
    """An answer that somebody called good (`desirable`) or bad."""

    row: AnswerRow
    desirable: bool

    @property
    def prompt(self) -> bytes:
        """The tokens before the answer."""
        return self.row.ids[: self.row.start].tobytes()

    def answered_by(self, other: Labelled, context_length: int) -> AnswerRow:
        """Its prompt with the answer to another one, as much of it as fits."""
        ids = np.concatenate((self.row.ids[: self.row.start], other.row.ids[other.row.start :]))
        return AnswerRow(ids[:context_length], self.row.start)


def encode_judged(
    judged: Sequence[Judged],
    template: ChatTemplate | None,
    context_length: int,
    validation_fraction: float,
) -> tuple[list[Labelled], list[Labelled]]:
    """Those learnt from and those held out, by the hash of the prompt: so no prompt is in both.
    What is longer than `context_length` is left out, which is said; raises `BadInput` that names
    the answer, or where one of the sides has not two different prompts."""
    found: list[tuple[bytes, Labelled]] = []
    too_long: list[int] = []
    for number, one in enumerate(judged, start=1):
        try:
            row = encode_answer(template, one.messages, one.answer)
        except BadInput as error:
            text = f"Judged answer {number}: {error.message}"
            raise BadInput(text, remedy=error.remedy) from None
        if len(row.ids) > context_length:
            too_long.append(number)
            continue
        key = json.dumps([dict(message) for message in one.messages], sort_keys=True)
        found.append((key.encode(), Labelled(row, one.label)))
    if too_long:
        say(
            f"{len(too_long)} answers are with their prompts longer than {context_length} tokens "
            f"and are left out ({shortly(too_long)}); a larger context_length keeps them."
        )
    keys = [key for key, _ in found]
    out = held_out(keys, validation_fraction) if keys else []
    sides: tuple[list[Labelled], list[Labelled]] = ([], [])
    for (_, labelled), chosen in zip(found, out, strict=True):
        sides[chosen].append(labelled)
    for side, what in zip(sides, ("to learn from", "held out"), strict=True):
        prompts = len({labelled.prompt for labelled in side})
        if prompts < 2:
            raise BadInput(
                f"Of different prompts {prompts} is left {what}; KTO needs two: it sets answers "
                "beside prompts that they are not for.",
                remedy="Give more, or another validation_fraction or context_length.",
            )
    return sides
