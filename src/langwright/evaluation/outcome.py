"""What came of each item, and what a whole task was measured to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Scores = dict[str, tuple[float, float]]
"""By metric, (numerator, denominator): a metric is the sum of the one over the sum of the other.
A verdict has the denominator 1; bits per byte the item's bytes. A metric's name may be followed by
a comma and what was made of several answers, as in lm-eval: `exact_match,maj@8`."""


@dataclass(frozen=True)
class Outcome:
    """The scores of one item, and what the log tells of it."""

    index: int
    scores: Scores
    log: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """All outcomes of a task, in the order of its items.

    `baselines` are by metric and name; the first of a metric is what a result must beat. `notes`
    are facts that every result of the task tells.
    """

    outcomes: list[Outcome]
    baselines: Mapping[str, Mapping[str, float]]
    notes: Mapping[str, Any] = field(default_factory=dict)
