"""How sure a figure is: a value with the bounds within which it lies at a stated level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput

_Values = Sequence[float] | npt.NDArray[np.float64] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval, all three in the unit of the figure."""

    value: float
    low: float
    high: float


def bootstrap_ratio(
    numerators: _Values,
    denominators: _Values,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """sum(numerators) / sum(denominators) over documents, by the percentile bootstrap.

    Both are [num_documents]; for bits per byte, a document's bits and its bytes. Documents are
    drawn with replacement, as the tokens within one depend on each other (Efron and Tibshirani
    1993, chapter 13). Raises `BadInput` unless there are two documents of positive denominator.
    """
    ratios = resampled_ratios(numerators, denominators, seed, resamples)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    value = float(np.sum(numerators, dtype=np.float64) / np.sum(denominators, dtype=np.float64))
    return Interval(value, float(low), float(high))


def resampled_ratios(
    numerators: _Values, denominators: _Values, seed: int, resamples: int = 1000
) -> npt.NDArray[np.float64]:
    """The ratio of sums of each resample, [resamples]; see `bootstrap_ratio`."""
    tops = np.asarray(numerators, np.float64)
    bottoms = np.asarray(denominators, np.float64)
    if tops.shape != bottoms.shape or tops.ndim != 1:
        raise BadInput(
            f"{tops.shape} numerators do not fit {bottoms.shape} denominators.",
            remedy="Give one of each for every document.",
        )
    if len(tops) < 2 or not np.all(bottoms > 0):
        raise BadInput(
            "A bootstrap needs two documents or more, each of a positive size.",
            remedy="Split the text into documents and leave the empty ones out.",
        )
    random = np.random.default_rng(seed)
    ratios = np.empty(resamples)
    for resample in range(resamples):
        drawn = random.integers(len(tops), size=len(tops))
        ratios[resample] = tops[drawn].sum() / bottoms[drawn].sum()
    return ratios


def bootstrap_difference(
    first: _Values,
    second: _Values,
    denominators: _Values,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """`first` minus `second`, two models on the same documents, as a paired bootstrap of the ratio.

    Pairing removes what makes a document hard for both (Koehn 2004). All are [num_documents]; for
    a difference of means the denominators are ones. An interval without zero tells them apart.
    """
    differences = np.subtract(first, second, dtype=np.float64)
    return bootstrap_ratio(differences, denominators, seed, resamples, level)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """The share successes / n with Wilson's score interval (1927; Brown, Cai and DasGupta 2001).

    Unlike the share plus or minus its standard error, it is right for few trials and near 0 and 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise BadInput(
            f"{successes} successes of {n} trials are no share.",
            remedy="Give at least one trial, and no more successes than trials.",
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Exact at the ends, where rounding would leave 1e-17 outside of [0, 1].
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(share, low, high)


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval:
    """The share successes / n with the exact interval (Clopper and Pearson 1934): the shares under
    which so many successes, or so few, are not rarer than (1 - level) / 2. It covers the truth at
    least as often as it says, whatever n is."""
    if n < 1 or not 0 <= successes <= n:
        raise BadInput(
            f"{successes} successes of {n} trials are no share.",
            remedy="Give at least one trial, and no more successes than trials.",
        )
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else _share_where(successes, n, tail, at_least=True)
    high = 1.0 if successes == n else _share_where(successes, n, tail, at_least=False)
    return Interval(successes / n, low, high)


def _share_where(successes: int, n: int, tail: float, *, at_least: bool) -> float:
    """The share under which `successes` or more (or fewer) have the probability `tail`."""
    counts = range(successes, n + 1) if at_least else range(successes + 1)
    ways = np.array([_log_choose(n, count) for count in counts])
    wins = np.array(counts, np.float64)
    low, high = 0.0, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        logs = ways + wins * math.log(middle) + (n - wins) * math.log1p(-middle)
        # More successes grow likelier with the share, fewer the other way.
        if (np.exp(logs).sum() < tail) == at_least:
            low = middle
        else:
            high = middle
    return middle


def _log_choose(n: int, count: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
