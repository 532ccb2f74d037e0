"""A reward for a mood, by a list of words: small and plain, for trying methods, not for judging
people's texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from langwright.config import read_toml
from langwright.evaluation.rewards.reward import Messages, RuleReward

_WORDS = {
    name: frozenset(words.split())
    for name, words in read_toml(Path(__file__).with_suffix(".toml")).items()
}
POSITIVE, NEGATIVE, NEGATORS = (_WORDS[one] for one in ("positive", "negative", "negators"))
REACH = 3
"""Words behind a negator whose mood it turns round ("not a very good")."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_END = re.compile(r"[.!?;:\n]")


def sentiment(text: str) -> float:
    """(positive - negative) / (positive + negative) words, from -1 to 1; 0 where there are none.

    A negator turns round what comes in the next three words of its sentence. One word of a mood
    earns as much as many: repeating it gains nothing.
    """
    counts = {True: 0, False: 0}
    for sentence in _END.split(text.lower()):
        turned = -1
        for place, word in enumerate(_WORD.findall(sentence)):
            plain = word.replace("'", "").replace("’", "")
            if plain in NEGATORS:
                turned = place + REACH
            elif plain in POSITIVE or plain in NEGATIVE:
                counts[(plain in POSITIVE) == (place > turned)] += 1
    total = counts[True] + counts[False]
    return (counts[True] - counts[False]) / total if total else 0.0


class Sentiment(RuleReward):
    """`sentiment` of the answer, or its opposite where the wanted mood is negative."""

    kind: Literal["sentiment"] = "sentiment"
    wanted: Literal["positive", "negative"] = "positive"

    def __call__(self, messages: Messages, answer: str, row: Mapping[str, Any]) -> float:
        found = sentiment(answer)
        return found if self.wanted == "positive" else -found
