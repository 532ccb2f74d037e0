"""A reward for answers of a wanted length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from langwright.evaluation.graders.form import num_words
from langwright.evaluation.rewards.reward import Messages, RuleReward


class Length(RuleReward):
    """1 for an answer of `least` to `most` words, falling evenly to 0 at `slack` words outside, so
    that an answer a little less wrong earns a little more (as DAPO's penalty for long answers, Yu
    et al. 2025, eq. 13)."""

    kind: Literal["length"] = "length"
    least: int = Field(0, ge=0)
    most: int = Field(ge=0)
    slack: int = Field(20, ge=1)

    def __call__(self, messages: Messages, answer: str, row: Mapping[str, Any]) -> float:
        num = num_words(answer)
        outside = max(self.least - num, num - self.most, 0)
        return max(0.0, 1 - outside / self.slack)
