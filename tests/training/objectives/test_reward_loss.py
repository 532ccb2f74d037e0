"""Losses of a reward model."""

from __future__ import annotations

import math

import pytest
import torch

from langwright.training.objectives import bradley_terry, decided, ranked

ALL = torch.ones(1, 4, dtype=torch.bool)


def test_equal_rewards_lose_ln_2_and_only_their_difference_counts() -> None:
    chosen, rejected = torch.tensor([1.0, 5.0, -2.0]), torch.tensor([1.0, 3.0, 1.0])
    loss = bradley_terry(chosen, rejected)
    assert float(loss[0]) == pytest.approx(math.log(2))
    torch.testing.assert_close(bradley_terry(chosen + 7, rejected + 7), loss)
    torch.testing.assert_close(
        bradley_terry(chosen, rejected, margin=1.5), bradley_terry(chosen - 1.5, rejected)
    )
    torch.testing.assert_close(
        bradley_terry(chosen, rejected, margin=1.5, probability=0.3),
        bradley_terry(rejected, chosen, margin=1.5, probability=0.7),
    )


def test_the_probability_of_the_label_is_what_a_reward_model_learns() -> None:
    lead = torch.linspace(-10, 10, 20_001, dtype=torch.float64)
    best = lead[bradley_terry(lead, torch.zeros_like(lead), probability=0.85).argmin()]
    assert torch.sigmoid(best) == pytest.approx(0.85, abs=1e-3)


def test_planted_rewards_come_back_from_comparisons() -> None:
    """All pairs of five answers with the probabilities of Bradley and Terry: the minimum is the
    planted rewards but for a constant."""
    planted = torch.tensor([0.0, 1.5, -2.0, 0.7, 3.0], dtype=torch.float64)
    first, second = torch.triu_indices(5, 5, 1)
    probability = torch.sigmoid(planted[first] - planted[second])
    reward = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([reward], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = bradley_terry(reward[first], reward[second], probability=probability).sum()
        loss.backward()
        return loss

    solver.step(closure)
    torch.testing.assert_close(reward - reward[0], planted, atol=1e-4, rtol=0)


def test_all_pairs_of_a_prompt_are_one_unit_divided_by_k_choose_2() -> None:
    reward, rank = torch.randn(1, 4), torch.tensor([[2, 0, 3, 1]])
    pairs = [(a, b) for a in range(4) for b in range(4) if rank[0, a] < rank[0, b]]
    assert len(pairs) == math.comb(4, 2)
    by_hand = sum(-math.log(torch.sigmoid(reward[0, a] - reward[0, b])) for a, b in pairs) / 6
    assert float(ranked(reward, rank, ALL)) == pytest.approx(by_hand, rel=1e-5)


def test_ties_and_missing_answers_are_no_pairs() -> None:
    reward = torch.randn(2, 4, requires_grad=True)
    rank = torch.tensor([[0, 1, 0, 0], [1, 1, 1, 1]])
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    loss = ranked(reward, rank, mask)
    torch.testing.assert_close(loss[:1], bradley_terry(reward[0, :1], reward[0, 1:2]))
    assert loss[1] == 0
    assert decided(rank, mask).tolist() == [True, False]
    loss.sum().backward()
    assert reward.grad is not None
    assert bool((reward.grad[~mask] == 0).all())
    assert bool((reward.grad[1] == 0).all())
