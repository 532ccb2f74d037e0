"""Reading a generated answer: is it right?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from langwright.evaluation.graders.code import Code
from langwright.evaluation.graders.exact import Exact
from langwright.evaluation.graders.form import Form
from langwright.evaluation.graders.number import Number, last_number
from langwright.evaluation.graders.pattern import Pattern

Grader = Annotated[Exact | Number | Pattern | Form | Code, Field(discriminator="kind")]
"""Each has `grade(answer, answers, row, where)`, which gives scores; `vote(answer)`, the form that
equal answers share; and says whether its answers can be put to the vote (`votes`) and whether it
compares with answers of the data (`needs_answer`)."""

__all__ = ["Code", "Exact", "Form", "Grader", "Number", "Pattern", "last_number"]
