"""Does an answer say the same over and over? Small models do, and trained ones may begin to."""

from __future__ import annotations

from langwright.text.cleaning.repetition import repeated

WORDS = 4
SHARE = 0.3


def looped(text: str) -> bool:
    """Whether 30% of the runs of four words were there before; for texts of twelve words and
    more."""
    words = text.casefold().split()
    if len(words) < 3 * WORDS:
        return False
    runs = [" ".join(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1)]
    return repeated(runs)[0] / len(runs) >= SHARE
