"""A reward for the words that an answer shares with a right one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from langwright.evaluation.graders.exact import Exact
from langwright.evaluation.rewards.graded import right_texts
from langwright.evaluation.rewards.reward import Messages, RuleReward

_ALIKE = Exact(ignore_punctuation=True, ignore_articles=True)


class Overlap(RuleReward):
    """The F1 of the answer's words against the right answer's, as SQuAD has it (Rajpurkar et al.
    2016): 1 for the same words in any order, 0 for none in common; of several right answers the
    nearest counts.

    `right` is an expression over the row (`answer`, `choices[gold]`).
    """

    kind: Literal["overlap"] = "overlap"
    right: str

    def __call__(self, messages: Messages, answer: str, row: Mapping[str, Any]) -> float:
        return max(overlap(answer, one) for one in right_texts(self.right, row, "'overlap'"))


def overlap(answer: str, right: str) -> float:
    """F1 of their words, without case, punctuation and articles; 1 where both have none."""
    said, wanted = (Counter(_ALIKE.vote(text).split()) for text in (answer, right))
    if not said or not wanted:
        return float(said == wanted)
    shared = (said & wanted).total()
    return 2 * shared / (said.total() + wanted.total())
