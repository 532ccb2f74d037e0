"""The last number of the answer is the right one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal

from langwright.config import Settings
from langwright.errors import BadInput
from langwright.evaluation.outcome import Scores

_WHOLE = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)])[-−])?\$?"
    rf"(?:(?<!/)(?:(?P<units>\d+)\s+)?(?P<top>\d+)\s*/\s*(?P<bottom>\d+)(?![\d/])"
    rf"|(?P<plain>(?:{_WHOLE}(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{{1,3}}(?!\d))?))"
)
_LONGEST = 400
"""Digits of a number beyond which it is none: an answer may be endless digits."""


class Number(Settings):
    """The last number of the answer equals that of a right one, within `tolerance` times the right
    one's size (0: exactly). Thousands may be parted by commas; 3/4 and 1 1/2 are fractions; a
    dollar or percent sign is not looked at."""

    votes: ClassVar[bool] = True
    needs_answer: ClassVar[bool] = True
    kind: Literal["number"] = "number"
    tolerance: float = 0.0

    def grade(
        self, answer: str, answers: Sequence[str], row: Mapping[str, Any], where: str
    ) -> Scores:
        right = [last_number(one) for one in answers]
        if None in right:
            raise BadInput(
                f"{where}: there is no number in the right answer {answers!r}.",
                remedy="Let the task's `answer` give a number, or use another grader.",
            )
        said = last_number(answer)
        hit = said is not None and any(
            abs(said - one) <= Fraction(self.tolerance) * abs(one)
            for one in right
            if one is not None
        )
        return {"exact_match": (float(hit), 1.0)}

    def vote(self, answer: str) -> str:
        said = last_number(answer)
        return "" if said is None else str(said)


def last_number(text: str) -> Fraction | None:
    """The last number in a text, exactly; None where there is none."""
    value = None
    for found in _NUMBER.finditer(text):
        if found.end() - found.start() > _LONGEST:
            continue
        if found["plain"]:
            size = Fraction(found["plain"].replace(",", ""))
        elif int(found["bottom"]) == 0:
            continue
        else:
            size = Fraction(int(found["top"]), int(found["bottom"])) + int(found["units"] or 0)
        value = -size if found["sign"] else size
    return value
