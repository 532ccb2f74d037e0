from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from langwright.backend import Filter, Sampling
from langwright.errors import BadInput
from langwright.inference import Sampler, filter_logits

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [0, 1, 7, 50, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.5, 1e-6])
def test_filters_equal_the_chain_of_transformers(
    temperature: float, top_k: int, top_p: float
) -> None:
    generator = torch.Generator().manual_seed(top_k)
    for _ in range(5):
        logits = 3 * torch.randn(300, generator=generator)
        expected = TemperatureLogitsWarper(temperature)(None, logits[None])
        if top_k:
            expected = TopKLogitsWarper(top_k)(None, expected)
        if top_p < 1:
            expected = TopPLogitsWarper(top_p)(None, expected)
        ours = filter_logits(logits, Sampling(temperature, top_k, top_p))
        assert torch.equal(ours.isinf(), expected[0].isinf())
        torch.testing.assert_close(ours, expected[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize("min_p", [0.0, 0.01, 0.2, 1.0])
@pytest.mark.parametrize("order", list(itertools.permutations(get_args(Filter)))[::5])
def test_min_p_and_other_orders_equal_transformers(min_p: float, order: tuple[Filter, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    warpers = {
        "temperature": TemperatureLogitsWarper(1.7),
        "top_k": TopKLogitsWarper(30),
        "top_p": TopPLogitsWarper(0.8),
        "min_p": MinPLogitsWarper(min_p),
    }
    for _ in range(5):
        logits = 3 * torch.randn(300, generator=generator)
        expected = logits[None]
        for name in order:
            expected = warpers[name](None, expected)
        ours = filter_logits(logits, Sampling(1.7, 30, 0.8, min_p=min_p, order=order))
        assert torch.equal(ours.isinf(), expected[0].isinf())
        torch.testing.assert_close(ours, expected[0], rtol=1e-6, atol=0)


def test_top_p_of_a_whole_vocabulary_equals_transformers() -> None:
    """The quick way over the likeliest first, and the long one for a flat distribution."""
    for spread, top_p in ((4.0, 0.9), (1.0, 0.5), (0.1, 0.3), (0.01, 0.99)):
        logits = spread * torch.randn(50_000, generator=torch.Generator().manual_seed(2))
        expected = TopPLogitsWarper(top_p)(None, logits[None])[0]
        ours = filter_logits(logits, Sampling(1.0, top_p=top_p))
        # Sums in another order may part at one token of thousands.
        assert int((ours.isinf() != expected.isinf()).sum()) <= 1 + int(spread < 1) * 20


def test_the_repetition_penalty_equals_transformers() -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(3))
    prompt, drawn = [4, 7, 7, 49], [3, 4]
    sampler = Sampler(Sampling(repetition_penalty=1.3), prompt)
    for token in drawn:
        sampler.drew(token)
    expected = RepetitionPenaltyLogitsProcessor(1.3)(
        torch.tensor([prompt + drawn]), logits[None].clone()
    )
    assert torch.equal(sampler.adjusted(logits), expected[0])


def test_penalties_follow_openais_formula_over_the_answer_alone() -> None:
    """mu[j] - c[j] * frequency - (c[j] > 0) * presence, of platform.openai.com's guide."""
    logits = torch.linspace(-2, 2, 9)
    sampler = Sampler(Sampling(frequency_penalty=0.5, presence_penalty=0.25), prompt=[0, 1, 2])
    assert torch.equal(sampler.adjusted(logits), logits)
    for token in (5, 5, 8):
        sampler.drew(token)
    expected = logits.clone()
    expected[5] -= 2 * 0.5 + 0.25
    expected[8] -= 0.5 + 0.25
    torch.testing.assert_close(sampler.adjusted(logits), expected)


def test_a_bias_is_added_before_all_else() -> None:
    logits = torch.zeros(6)
    biased = Sampler(Sampling(0.0, logit_bias={2: 5.0, 4: -100.0}))
    assert biased.draw(biased.adjusted(logits)) == 2
    assert float(biased.adjusted(logits)[4]) == -100.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_p": 1.5},
        {"repetition_penalty": 0.0},
        {"frequency_penalty": float("nan")},
        {"presence_penalty": 101.0},
        {"logit_bias": {1: float("inf")}},
        {"order": ("top_k", "top_p")},
    ],
)
def test_values_out_of_bounds_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=f"(?i){next(iter(wrong))}"):
        Sampling(**wrong)


def test_the_distribution_is_that_of_the_draws() -> None:
    logits = torch.linspace(-3, 1, 20)
    sampler = Sampler(Sampling(0.8, top_k=12, min_p=0.02, seed=5))
    expected = sampler.distribution(logits).exp()
    assert float(expected.sum()) == pytest.approx(1.0)
    counts = torch.bincount(
        torch.tensor([sampler.draw(logits) for _ in range(20_000)]), minlength=20
    )
    assert not counts[expected == 0].any()
    kept = expected > 0
    chi_square = ((counts - 20_000 * expected)[kept] ** 2 / (20_000 * expected[kept])).sum()
    assert float(chi_square) < 32.9  # 12 degrees of freedom at most, exceeded once in a thousand


def test_draws_follow_the_distribution() -> None:
    """Chi-square with 19 degrees of freedom: 43.8 is exceeded once in a thousand seeds."""
    logits = torch.linspace(-3, 1, 20)
    sampler = Sampler(Sampling(temperature=0.8, seed=11))
    counts = torch.zeros(20)
    draws = 20_000
    for _ in range(draws):
        counts[sampler.draw(logits)] += 1
    expected = (logits / 0.8).softmax(-1) * draws
    assert float(((counts - expected) ** 2 / expected).sum()) < 43.8


def test_no_filtered_token_is_ever_drawn() -> None:
    logits = torch.linspace(0, 1, 20)
    sampler = Sampler(Sampling(temperature=5.0, top_k=3, seed=0))
    assert {sampler.draw(logits) for _ in range(500)} == {17, 18, 19}


def test_the_same_seed_draws_the_same_and_none_draws_anew() -> None:
    logits = torch.zeros(1000)

    def draws(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(temperature=1.0, seed=seed))
        return [sampler.draw(logits) for _ in range(10)]

    assert draws(5) == draws(5) != draws(6)
    assert draws(None) != draws(None)
    assert draws(-(2**63)) != draws(2**63 - 1)


@pytest.mark.parametrize("temperature", [0.0, 1e-4, 1e-37, 1e-45, 5e-324])
def test_the_coldest_temperatures_take_the_likeliest(temperature: float) -> None:
    logits = torch.tensor([5.0, 90.0, 89.0, -1e30, float("-inf")])
    sampler = Sampler(Sampling(temperature=temperature, top_p=0.9, seed=0))
    assert {sampler.draw(logits) for _ in range(20)} == {1}
