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
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(tops.sum() / bottoms.sum()), float(low), float(high))


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
