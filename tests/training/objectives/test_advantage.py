"""Advantages: against their sums written out, torchtune's figures, and the edges."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from langwright.training.objectives import (
    clipped_surrogate,
    dr_grpo_advantages,
    gae,
    grpo_advantages,
    informative,
    rloo_advantages,
    token_rewards,
    whiten,
)

# Ends at different places, and in one row a gap: what a tool said.
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 1, 0]], dtype=torch.bool)


def drawn() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    # What stands outside of the mask must not matter.
    return torch.randn(3, 6), torch.randn(3, 6).masked_fill(~MASK, 1e6)


def by_the_sum(
    rewards: list[float], values: list[float], gamma: float, lambda_: float
) -> list[float]:
    """Schulman et al. 2016, eq. 16, as it stands: the sum of (gamma * lambda)^l * delta_t+l."""
    behind = [*values[1:], 0.0]
    deltas = [r + gamma * b - v for r, b, v in zip(rewards, behind, values, strict=True)]
    return [
        sum((gamma * lambda_) ** l * delta for l, delta in enumerate(deltas[t:]))  # noqa: E741
        for t in range(len(deltas))
    ]


@pytest.mark.parametrize(("gamma", "lambda_"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (1.0, 0.0)])
def test_gae_is_its_sum_in_rows_of_any_length(gamma: float, lambda_: float) -> None:
    rewards, values = drawn()
    advantages, returns = gae(rewards, values, MASK, gamma, lambda_)
    for row, mask in enumerate(MASK):
        said = by_the_sum(rewards[row, mask].tolist(), values[row, mask].tolist(), gamma, lambda_)
        torch.testing.assert_close(advantages[row, mask], torch.tensor(said))
    assert bool((advantages[~MASK] == 0).all())
    assert bool((returns[~MASK] == 0).all())
    torch.testing.assert_close(returns[MASK], (advantages + values)[MASK])


def test_gaes_edges() -> None:
    """lambda 1: what came to the end less the value; lambda 0: the surprise of one step."""
    rewards, values = drawn()
    to_the_end = gae(rewards, values, MASK, 1.0, 1.0)[0][0]
    torch.testing.assert_close(to_the_end, rewards[0].flip(0).cumsum(0).flip(0) - values[0])
    one_step = gae(rewards, values, MASK, 1.0, 0.0)[0][0]
    behind = torch.cat([values[0, 1:], torch.zeros(1)])
    torch.testing.assert_close(one_step, rewards[0] + behind - values[0])


def test_torchtunes_returns() -> None:
    one = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    _, returns = gae(one, one, torch.ones(1, 4, dtype=torch.bool), 0.9, 0.95)
    expected = torch.tensor([[0.9**3 * 0.95**2, 0.9**2 * 0.95, 0.9, 1.0]])
    torch.testing.assert_close(returns, expected, rtol=1e-4, atol=1e-4)


def test_torchtunes_rewards() -> None:
    kl = torch.tensor([[-0.1] * 3, [-0.2] * 3, [-0.3] * 3])
    everywhere = torch.ones(3, 3, dtype=torch.bool)
    found = token_rewards(torch.tensor([1.0, 2.0, 3.0]), kl, everywhere, 0.5)
    expected = torch.tensor([[0.05, 0.05, 1.05], [0.1, 0.1, 2.1], [0.15, 0.15, 3.15]])
    torch.testing.assert_close(found, expected)


def test_the_score_stands_at_the_last_token_of_each_answer() -> None:
    found = token_rewards(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3, 6), MASK, 0.5)
    assert [row.nonzero().flatten().tolist() for row in found] == [[5], [2], [4]]
    with pytest.raises(ValueError, match="no token"):
        token_rewards(torch.ones(3), torch.zeros(3, 6), MASK & False, 0.5)


def test_whitening_with_and_without_the_mean() -> None:
    """torchtune's figures, with its names the other way round: its `shift_mean=True` leaves the
    mean where OpenAI's code, and TRL's, takes it away."""
    torch.manual_seed(0)
    values = torch.cat([torch.normal(1, 2, (50, 100)), torch.normal(2, 1, (50, 100))])
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[:50] = False
    mean, deviation = values[50:].mean(), values[50:].var().sqrt()
    expected = (values[50:] - mean) / deviation
    torch.testing.assert_close(whiten(values, mask)[50:], expected, rtol=1e-4, atol=1e-4)
    kept = whiten(values, mask, shift_mean=False)
    torch.testing.assert_close(kept[50:], expected + mean, rtol=1e-4, atol=1e-4)
    assert bool((kept[:50] == 0).all())
    assert bool((whiten(values, mask)[:50] == 0).all())


def test_whitening_one_value_or_equal_ones_is_finite() -> None:
    values = torch.full((2, 3), 5.0)
    one = torch.zeros(2, 3, dtype=torch.bool)
    one[0, 0] = True
    assert bool((whiten(values, one) == 0).all())
    assert bool((whiten(values, one | True) == 0).all())


REWARDS = torch.tensor([[0.0, 1.0, 1.0, 0.5], [2.0, 2.5, 7.0, -1.0]])


def test_a_group_is_measured_by_its_own_answers() -> None:
    found = grpo_advantages(REWARDS)
    torch.testing.assert_close(found.mean(1), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.std(1), torch.ones(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(dr_grpo_advantages(REWARDS), REWARDS - REWARDS.mean(1, keepdim=True))


def test_leaving_one_out_is_k_over_k_minus_1_times_the_distance_from_the_mean() -> None:
    found = rloo_advantages(REWARDS)
    for row in range(2):
        for place in range(4):
            others = [float(REWARDS[row, other]) for other in range(4) if other != place]
            assert float(found[row, place]) == pytest.approx(
                float(REWARDS[row, place]) - sum(others) / 3
            )
    torch.testing.assert_close(found, 4 / 3 * (REWARDS - REWARDS.mean(1, keepdim=True)))


@pytest.mark.parametrize("estimate", [grpo_advantages, dr_grpo_advantages, rloo_advantages])
def test_equal_rewards_have_exactly_no_gradient(estimate: object) -> None:
    # The mean of three times 0.11 is not 0.11 in binary.
    rewards = torch.tensor([[0.11, 0.11, 0.11], [0.3, 0.1, 0.1]])
    assert bool((rewards[0] != rewards[0].mean()).all())
    policy = torch.randn(2, 3, requires_grad=True)
    advantages = estimate(rewards)  # type: ignore[operator]
    clipped_surrogate(policy, policy.detach(), advantages).sum().backward()
    assert policy.grad is not None
    assert bool((policy.grad[0] == 0).all())
    assert bool((policy.grad[1] != 0).all())
    assert informative(rewards).tolist() == [False, True]


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="two answers"):
        rloo_advantages(torch.ones(3, 1))
