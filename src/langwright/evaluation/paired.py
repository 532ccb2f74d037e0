"""Two models on the same items: is one better?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput

_Pair = tuple[float, float]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """`difference` is first minus second, from `low` to `high` at 95%; `p` two-sided, that so large
    a difference comes of chance alone. Of verdicts, `only_first` and `only_second` count the items
    that one of them alone got right."""

    difference: float
    low: float | None
    high: float | None
    p: float
    test: str
    n: int
    only_first: int | None = None
    only_second: int | None = None


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of McNemar's test (1947): of the items on which the two disagree, each
    is right on a fair coin's share."""
    n = only_first + only_second
    if n == 0:
        return 1.0
    fewer = min(only_first, only_second)
    below = sum(math.comb(n, count) for count in range(fewer + 1))
    return min(1.0, 2 * below / 2**n)


def compare(
    first: Sequence[_Pair],
    second: Sequence[_Pair],
    seed: int,
    unit: Callable[[float], float] = float,
    resamples: int = 5000,
) -> Paired:
    """`first` against `second`, each (numerator, denominator) by item, in the same order.

    `unit` makes of a ratio what is shown, as exp does for perplexity, whose difference is told.
    McNemar's exact test where all are verdicts of 0 or 1, else a paired bootstrap of the difference
    of the ratios (Koehn 2004), which gives the interval of both.
    """
    if len(first) != len(second) or not first:
        raise BadInput("Two models were not measured on the same items.", remedy="Do so.")
    tops = np.array([[one[0] for one in side] for side in (first, second)])
    bottoms = np.array([[one[1] for one in side] for side in (first, second)])
    ours, theirs = (unit(float(ratio)) for ratio in tops.sum(1) / bottoms.sum(1))
    difference, n = ours - theirs, len(first)
    low = high = None
    drawn = _differences(tops, bottoms, seed, unit, resamples)
    if n > 1:
        low, high = (float(edge) for edge in np.quantile(drawn, [0.025, 0.975]))
    if bool(((tops == 0) | (tops == 1)).all() and (bottoms == 1).all()):
        only_first = int(((tops[0] == 1) & (tops[1] == 0)).sum())
        only_second = int(((tops[0] == 0) & (tops[1] == 1)).sum())
        p = mcnemar(only_first, only_second)
        return Paired(difference, low, high, p, "McNemar, exact", n, only_first, only_second)
    side = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (side + 1) / (resamples + 1)) if n > 1 else 1.0
    return Paired(difference, low, high, p, "paired bootstrap", n)


def _differences(
    tops: _Floats, bottoms: _Floats, seed: int, unit: Callable[[float], float], resamples: int
) -> _Floats:
    """First minus second in each resample of the items, the same for both."""
    random = np.random.default_rng(seed)
    n = tops.shape[1]
    differences = np.empty(resamples)
    for resample in range(resamples):
        drawn = random.integers(n, size=n)
        ours, theirs = tops[:, drawn].sum(1) / bottoms[:, drawn].sum(1)
        differences[resample] = unit(ours) - unit(theirs)
    return differences
