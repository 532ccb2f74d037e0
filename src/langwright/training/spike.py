"""How far a value lies above those before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

NEEDED = 20
"""Values before which nothing is out of proportion."""
LEVEL = 10
"""Values whose median is a level."""
_DEVIATION = 1.4826 / math.sqrt(2)
"""From the median distance of neighbours to the standard deviation, where noise is normal."""


def excess(history: Sequence[float], value: float, floor: float) -> float:
    """Robust z of `value`: its distance above the median of `history`, both as logarithms, in
    units of the noise (at least `floor`). Infinite for what is no finite number; 0 where the
    history is shorter than `NEEDED`, or something in it has no logarithm.

    The noise is taken from the distances between neighbours (their median, as for the MAD), since
    the MAD itself counts the fall of the curve as noise: in the first hundred steps it is several
    times too large.
    """
    if not math.isfinite(value):
        return math.inf
    if len(history) < NEEDED or min(value, *history) <= 0:
        return 0.0
    logs = [math.log(one) for one in history]
    steps = [abs(after - before) for before, after in pairwise(logs)]
    return (math.log(value) - median(logs)) / max(_DEVIATION * median(steps), floor)


def doubled(first: Sequence[float], last: Sequence[float]) -> bool:
    """Whether the level of the last `LEVEL` values is twice that of the first `LEVEL`: a rise so
    slow that it passes for noise. Only values above 0 have a level."""
    if len(first) < LEVEL or min(*first, *last) <= 0:
        return False
    return median(last[-LEVEL:]) > 2 * median(first)
