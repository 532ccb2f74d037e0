"""Paired tests between two models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from langwright.errors import BadInput
from langwright.evaluation import compare, mcnemar


@pytest.mark.parametrize(
    ("one", "other"), [(0, 0), (5, 0), (3, 9), (12, 12), (40, 70), (900, 1000)]
)
def test_mcnemar_is_the_exact_test_of_a_fair_coin(one: int, other: int) -> None:
    expected = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(one, other) == mcnemar(other, one)


def test_verdicts_take_mcnemar_and_count_who_alone_was_right() -> None:
    first = [(1.0, 1.0)] * 8 + [(0.0, 1.0)] * 4
    second = [(1.0, 1.0)] * 2 + [(0.0, 1.0)] * 9 + [(1.0, 1.0)]
    found = compare(first, second, seed=0)
    assert (found.only_first, found.only_second, found.n) == (6, 1, 12)
    assert found.p == pytest.approx(stats.binomtest(6, 7).pvalue)
    assert found.difference == pytest.approx(5 / 12)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 5 / 12 < found.high


def test_pairing_finds_what_two_intervals_hide() -> None:
    draw = np.random.default_rng(3)
    hard = draw.normal(3, 2, 200)
    first = [(float(x + e), 1.0) for x, e in zip(hard, draw.normal(0.1, 0.2, 200), strict=True)]
    second = [(float(x), 1.0) for x in hard]
    found = compare(first, second, seed=0)
    assert found.test == "paired bootstrap"
    assert found.low is not None
    assert found.low > 0
    assert found.p < 0.001


def test_without_a_difference_p_is_small_as_often_as_it_should_be() -> None:
    draw = np.random.default_rng(5)
    small = 0
    for seed in range(200):
        noise = draw.normal(0, 1, (2, 60))
        sides = [[(float(x), 1.0) for x in side] for side in noise]
        small += compare(*sides, seed=seed, resamples=200).p < 0.1
    assert 8 <= small <= 36  # 20 +- 3.5 deviations of a binomial


def test_a_difference_of_perplexities_is_told_in_perplexity() -> None:
    first, second = [(2.0, 1.0), (4.0, 1.0)], [(1.0, 1.0), (3.0, 1.0)]
    found = compare(first, second, seed=0, unit=math.exp)
    assert found.difference == pytest.approx(math.exp(3) - math.exp(2))


def test_other_items_are_no_pairs() -> None:
    with pytest.raises(BadInput, match="same items"):
        compare([(1.0, 1.0)], [], seed=0)
