"""The answer is a program that passes its tests, in the sandbox."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from langwright.config import Settings
from langwright.evaluation.outcome import Scores
from langwright.evaluation.template import render
from langwright.sandbox import MIB, Outcome, run_python

_FENCED = re.compile(r"```(?:python|py)?[^\S\n]*\n(.*?)(?:```|\Z)", re.S)


class Code(Settings):
    """`program` is a template over the row and the `completion`, whose text is run as Python: the
    answer is right when it comes to its end without an error. Of an answer with a fenced block the
    block is taken. `seconds` by the clock, `memory` in MiB.

    A program that ends itself before its tests are done has not passed: it must reach the line
    behind them, which writes a word that it cannot know.
    """

    votes: ClassVar[bool] = False
    needs_answer: ClassVar[bool] = False
    kind: Literal["code"] = "code"
    program: str
    seconds: float = 5.0
    memory: int = 256

    def grade(
        self, answer: str, answers: Sequence[str], row: Mapping[str, Any], where: str
    ) -> Scores:
        return {"pass@1": (float(self.passes(answer, row, where)), 1.0)}

    def passes(self, answer: str, row: Mapping[str, Any], where: str) -> bool:
        """Raises `Unsupported` where programs cannot be isolated."""
        fenced = _FENCED.search(answer)
        completion = fenced[1] if fenced else answer
        program = render(self.program, {**row, "completion": completion}, where)
        word = secrets.token_hex(16)
        done: Outcome = run_python(
            f"{program}\nprint({word!r})\n", seconds=self.seconds, memory=self.memory * MIB
        )
        return done.reason == "ended" and done.exit_code == 0 and done.stdout.endswith(word + "\n")

    def vote(self, answer: str) -> str:
        return answer
