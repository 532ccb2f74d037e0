"""A grader's verdict as a reward: an exact answer, a number, a pattern, a format, a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from langwright.errors import BadInput
from langwright.evaluation.graders import Grader
from langwright.evaluation.rewards.reward import Messages, RuleReward
from langwright.evaluation.template import value_of


class Graded(RuleReward):
    """1 where `grader` calls the answer right, else 0.

    `right` is an expression over the row (`answer`, `choices[gold]`) that gives the right text or
    texts; graders that compare with none need none.
    """

    kind: Literal["graded"] = "graded"
    grader: Grader
    right: str = ""

    def __call__(self, messages: Messages, answer: str, row: Mapping[str, Any]) -> float:
        where = f"The reward '{self.grader.kind}'"
        scores = self.grader.grade(answer, self._right(row, where), row, where)
        top, bottom = next(iter(scores.values()))
        return top / bottom

    def _right(self, row: Mapping[str, Any], where: str) -> list[str]:
        if not self.grader.needs_answer:
            return []
        if not self.right:
            raise BadInput(
                f"{where} compares with a right answer.",
                remedy="Let `right` name the field that has it.",
            )
        return right_texts(self.right, row, where)


def right_texts(right: str, row: Mapping[str, Any], where: str) -> list[str]:
    """What the expression `right` gives of the row: one text or several. Raises `BadInput`."""
    value = value_of(right, row, where)
    texts = value if isinstance(value, list | tuple) else [value]
    if not texts or not all(isinstance(one, str | int | float) for one in texts):
        raise BadInput(
            f"{where}: the right answer is {value!r}.", remedy="Give a text or a list of texts."
        )
    return [str(one) for one in texts]
