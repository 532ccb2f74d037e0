"""A plot drawn in characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
Cell = tuple[str, int | None]
"""A character, and the curve that it is of (None: none)."""

MARKS = "●▲■◆○△□◇"
"""One for each curve, then the first again."""


@dataclass(frozen=True)
class Plot:
    """`rows` from top to bottom; `low` and `high` are the values at the bottom and at the top,
    `first` and `last` the places at the left and at the right."""

    rows: list[list[Cell]]
    low: float
    high: float
    first: float
    last: float


def plot(curves: Sequence[Sequence[Point]], width: int, height: int) -> Plot | None:
    """The curves over each other, the last on top; None where there is no point.

    Each column of a curve shows the mean of the points that fall into it.
    """
    points = [point for curve in curves for point in curve]
    if not points:
        return None
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    columns = [_columns(curve, first, last, width) for curve in curves]
    levels = [level for column in columns for level in column.values()]
    low, high = min(levels), max(levels)
    rows: list[list[Cell]] = [[(" ", None)] * width for _ in range(height)]
    for index in range(len(curves)):
        for column, level in columns[index].items():
            share = (level - low) / (high - low) if high > low else 0.5
            row = height - 1 - round(share * (height - 1))
            rows[row][column] = (MARKS[index % len(MARKS)], index)
    return Plot(rows, low, high, first, last)


def _columns(curve: Sequence[Point], first: float, last: float, width: int) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for x, y in curve:
        column = round((x - first) / (last - first) * (width - 1)) if last > first else 0
        found.setdefault(column, []).append(y)
    return {column: sum(values) / len(values) for column, values in found.items()}
