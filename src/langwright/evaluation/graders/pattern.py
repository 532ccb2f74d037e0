"""The answer matches a regular expression."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from langwright.config import Settings
from langwright.errors import BadInput
from langwright.evaluation.outcome import Scores
from langwright.evaluation.template import render


class Pattern(Settings):
    """`pattern` is a template over the row whose text is a regular expression; it is found in the
    answer, or with `whole` matches all of it (white space around the answer aside)."""

    votes: ClassVar[bool] = False
    needs_answer: ClassVar[bool] = False
    kind: Literal["regex"] = "regex"
    pattern: str
    whole: bool = False

    def grade(
        self, answer: str, answers: Sequence[str], row: Mapping[str, Any], where: str
    ) -> Scores:
        source = render(self.pattern, row, where)
        try:
            pattern = re.compile(source)
        except re.error as error:
            raise BadInput(
                f"{where}: {source!r} is no regular expression: {error}.", remedy="Correct it."
            ) from None
        text = answer.strip()
        found = pattern.fullmatch(text) if self.whole else pattern.search(text)
        return {"regex_match": (float(found is not None), 1.0)}

    def vote(self, answer: str) -> str:
        return answer
