"""Values with their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from langwright.evaluation.figures import figure


def test_verdicts_have_the_exact_interval_and_the_sample_error() -> None:
    found = figure("acc", [(1.0, 1.0)] * 15 + [(0.0, 1.0)] * 133, seed=0)
    # Newcombe 1998, table I, method 5.
    assert (found.low, found.high) == pytest.approx((0.0578, 0.1617), abs=5e-5)
    values = np.array([1.0] * 15 + [0.0] * 133)
    assert found.stderr == pytest.approx(values.std(ddof=1) / math.sqrt(148))
    assert (found.n, found.method) == (148, "exact")


def test_other_scores_have_a_bootstrap() -> None:
    draw = np.random.default_rng(0)
    scores = [(float(x), 1.0) for x in draw.normal(2, 1, 400)]
    found = figure("bits_per_byte", scores, seed=1)
    assert found.method == "bootstrap"
    assert found.stderr == pytest.approx(1 / math.sqrt(400), rel=0.15)
    assert found == figure("bits_per_byte", scores, seed=1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_perplexity_is_exp_of_the_mean_also_at_its_bounds() -> None:
    scores = [(1.0, 1.0), (2.0, 1.0), (6.0, 1.0)]
    found = figure("perplexity", scores, seed=0)
    assert found.value == pytest.approx(math.exp(3))
    assert (found.low, found.high) == pytest.approx((math.exp(1), math.exp(6)))
    assert figure("byte_perplexity", scores, seed=0).value == pytest.approx(8)
    # Two certain predictions are no verdicts.
    assert figure("perplexity", [(0.0, 1.0), (1.0, 1.0)], seed=0).method == "bootstrap"


def test_a_single_item_has_no_spread() -> None:
    assert figure("perplexity", [(1.0, 2.0)], seed=0).low is None
    found = figure("acc", [(1.0, 1.0)], seed=0)
    assert (found.stderr, found.low, found.high) == (None, pytest.approx(0.025), 1.0)
