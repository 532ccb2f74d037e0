from __future__ import annotations

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from langwright.backend import Sampling
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


def test_draws_follow_the_distribution() -> None:
    """Chi-square with 19 degrees of freedom: 43.8 is exceeded once in a thousand seeds."""
    logits = torch.linspace(-3, 1, 20)
    sampler = Sampler(Sampling(temperature=0.8, seed=11))
    counts = torch.zeros(20)
    draws = 100_000
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
