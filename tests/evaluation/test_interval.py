import numpy as np
import pytest
from scipy import stats

from langwright.errors import BadInput
from langwright.evaluation import (
    bootstrap_difference,
    bootstrap_ratio,
    clopper_pearson,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    interval = wilson(successes, n)
    assert interval.value == successes / n
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(n - successes, n)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - interval.high, 1 - interval.low))


def test_wilson_refuses_no_trials():
    with pytest.raises(BadInput, match="0 successes of 0"):
        wilson(0, 0)
    with pytest.raises(BadInput, match="5 successes of 4"):
        wilson(5, 4)


def test_bootstrap_agrees_with_the_normal_interval_of_a_mean():
    values = np.random.default_rng(0).normal(3, 2, 2000)
    interval = bootstrap_ratio(values, np.ones(2000), seed=1)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_bootstrap_is_a_ratio_of_sums_and_not_a_mean_of_ratios():
    interval = bootstrap_ratio([10, 0], [1, 9], seed=0)
    assert interval.value == 1.0
    assert (interval.low, interval.high) == (0.0, 10.0)


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(7)
    covered = 0
    for seed in range(200):
        sizes = draw.integers(1, 50, 60)
        interval = bootstrap_ratio(2.0 * sizes + draw.normal(0, 5, 60), sizes, seed, resamples=200)
        covered += interval.low <= 2.0 <= interval.high
    assert 180 <= covered <= 199


def test_bootstrap_repeats_with_its_seed():
    tops, bottoms = [3.0, 1.0, 2.0, 5.0], [1, 2, 3, 4]
    assert bootstrap_ratio(tops, bottoms, seed=3) == bootstrap_ratio(tops, bottoms, seed=3)
    assert bootstrap_ratio([4, 6, 8], [2, 3, 4], seed=3).low == 2.0


def test_pairing_sees_a_small_difference_between_models_on_hard_and_easy_documents():
    draw = np.random.default_rng(2)
    difficulty = draw.normal(10, 5, 100)
    first = difficulty + draw.normal(0.1, 0.1, 100)
    ones = np.ones(100)
    paired = bootstrap_difference(first, difficulty, ones, seed=0)
    assert 0 < paired.low < paired.value < paired.high < 0.2
    apart = bootstrap_ratio(first, ones, seed=0), bootstrap_ratio(difficulty, ones, seed=0)
    assert apart[0].low < apart[1].high


def test_bootstrap_refuses_what_has_no_spread():
    with pytest.raises(BadInput, match="two documents"):
        bootstrap_ratio([1.0], [1.0], seed=0)
    with pytest.raises(BadInput, match="two documents"):
        bootstrap_ratio([1.0, 2.0], [1.0, 0.0], seed=0)
    with pytest.raises(BadInput, match="do not fit"):
        bootstrap_ratio([1.0, 2.0], [1.0], seed=0)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 5.
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_clopper_pearson_gives_the_published_intervals(successes, n, low, high):
    interval = clopper_pearson(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 17, 300, 5153])
def test_clopper_pearson_is_exact(n):
    for successes in {0, 1, n // 3, n - 1, n} - {-1}:
        for level in (0.5, 0.95, 0.999):
            interval = clopper_pearson(successes, n, level)
            exact = stats.binomtest(successes, n).proportion_ci(level, "exact")
            expected = (float(exact.low), float(exact.high))
            assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)


def test_clopper_pearson_refuses_no_trials():
    with pytest.raises(BadInput, match="0 successes of 0"):
        clopper_pearson(0, 0)
