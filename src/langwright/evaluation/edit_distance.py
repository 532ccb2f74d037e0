"""How far one sequence is from another."""

from __future__ import annotations

from collections.abc import Sequence


def edit_distance(written: Sequence[object], reference: Sequence[object]) -> int:
    """The least number of symbols to insert, delete or replace (Levenshtein 1966)."""
    row = list(range(len(reference) + 1))
    for count, symbol in enumerate(written, start=1):
        before, row[0] = row[0], count
        for place, other in enumerate(reference, start=1):
            replaced = before + (symbol != other)
            before, row[place] = row[place], min(replaced, row[place] + 1, row[place - 1] + 1)
    return row[-1]
