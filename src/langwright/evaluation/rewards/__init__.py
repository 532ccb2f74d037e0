"""What an answer is worth as a number: by rules, by a judge, and by several of them together.

A reward takes the messages of the prompt, the text of the answer and the row's reference data.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from langwright.evaluation.rewards.combined import Combined, Rewarded
from langwright.evaluation.rewards.graded import Graded
from langwright.evaluation.rewards.judge import Rating, Verdict, probability_of_first
from langwright.evaluation.rewards.length import Length
from langwright.evaluation.rewards.overlap import Overlap, overlap
from langwright.evaluation.rewards.reward import Asked, Reward
from langwright.evaluation.rewards.sentiment import Sentiment, sentiment

Rule = Annotated[Graded | Length | Overlap | Sentiment, Field(discriminator="kind")]
"""The rewards that are settings alone."""

__all__ = [
    "Asked",
    "Combined",
    "Graded",
    "Length",
    "Overlap",
    "Rating",
    "Reward",
    "Rewarded",
    "Rule",
    "Sentiment",
    "Verdict",
    "overlap",
    "probability_of_first",
    "sentiment",
]
