"""How far an answer is about what was asked: by the words that a helpful one would have."""

from __future__ import annotations

import re
from collections.abc import Sequence


def coverage(answer: str, expects: Sequence[Sequence[str]]) -> float:
    """The share of the groups in `expects` of which the answer has a word (whole words, without
    regard to case). It sees whether an answer keeps to the question, not whether it is right."""
    words = set(re.findall(r"\w+", answer.casefold()))
    hits = sum(any(word.casefold() in words for word in group) for group in expects)
    return hits / len(expects)
