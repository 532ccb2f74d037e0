"""From the outcomes of all items to figures with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from langwright.evaluation.interval import clopper_pearson, resampled_ratios
from langwright.evaluation.outcome import Outcome

_SHOWN: dict[str, Callable[[float], float]] = {
    "perplexity": math.exp,
    "byte_perplexity": math.exp2,
    "word_perplexity": math.exp2,
}
"""What is made of the ratio at the end."""

RESAMPLES = 1000
Pair = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """`stderr` and the bounds at 95% are None where a single item has no spread. `method` tells how
    the interval was found."""

    value: float
    stderr: float | None
    low: float | None
    high: float | None
    n: int
    method: str


def metrics(outcomes: Sequence[Outcome]) -> list[str]:
    """The metrics of a task, in the order of their first coming."""
    return list(dict.fromkeys(name for outcome in outcomes for name in outcome.scores))


def pairs(outcomes: Sequence[Outcome], metric: str) -> list[Pair]:
    return [outcome.scores[metric] for outcome in outcomes if metric in outcome.scores]


def unit(metric: str) -> Callable[[float], float]:
    """What makes of a ratio the value of its metric."""
    return _SHOWN.get(metric, float)


def figure(metric: str, scores: Sequence[Pair], seed: int) -> Figure:
    """The value with its 95% interval: Clopper and Pearson's where each item is right or wrong,
    else the percentile bootstrap over items, which also gives the standard error. That of right
    and wrong is the sample's deviation over the root of n, as lm-eval's."""
    tops = np.array([one[0] for one in scores])
    bottoms = np.array([one[1] for one in scores])
    n = len(scores)
    value = unit(metric)(float(tops.sum() / bottoms.sum()))
    if metric not in _SHOWN and bool(((tops == 0) | (tops == 1)).all() and (bottoms == 1).all()):
        stderr = float(tops.std(ddof=1) / math.sqrt(n)) if n > 1 else None
        bounds = clopper_pearson(int(tops.sum()), n)
        return Figure(value, stderr, bounds.low, bounds.high, n, "exact")
    if n < 2:
        return Figure(value, None, None, None, n, "none")
    drawn = resampled_ratios(tops, bottoms, seed, RESAMPLES)
    drawn = np.array([unit(metric)(ratio) for ratio in drawn.tolist()])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Figure(value, float(drawn.std(ddof=1)), float(low), float(high), n, "bootstrap")
