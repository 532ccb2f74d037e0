"""Losses on judged answers: published constants, gradients and minima."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from langwright.training.objectives import dpo, hinge, ipo, kl_baseline, kto

ZERO = torch.zeros(3)
# The log-probabilities of torchtune's tests: margins 0, 10 and 20.
GOLDEN = (
    torch.tensor([-0.5, -10.0, -1.0]),
    torch.tensor([-0.1, -30.0, -21.0]),
    torch.tensor([-0.5, -10.1, -0.1]),
    torch.tensor([-0.1, -20.1, -0.1]),
)


def test_torchtunes_constants_at_margins_0_10_and_20() -> None:
    loss, chosen, rejected = dpo(*GOLDEN, beta=0.1)
    torch.testing.assert_close(loss, torch.tensor([0.6931, 0.3133, 0.1269]), atol=5e-5, rtol=0)
    torch.testing.assert_close(chosen - rejected, torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(hinge(*GOLDEN, beta=0.1).loss, torch.tensor([1.0, 0.0, 0.0]))


def test_a_policy_that_is_its_reference_loses_ln_2_and_learns_with_half_of_beta() -> None:
    chosen = torch.tensor([-3.0, -50.0, -7.0], requires_grad=True)
    rejected = torch.tensor([-4.0, -2.0, -7.0], requires_grad=True)
    found = dpo(chosen, rejected, chosen.detach(), rejected.detach(), beta=0.3)
    torch.testing.assert_close(found.loss, torch.full((3,), math.log(2)))
    assert not found.chosen_reward.requires_grad
    found.loss.sum().backward()
    # Rafailov et al. 2023, eq. 7 derived: -beta * sigmoid(-beta * margin) for the chosen one.
    torch.testing.assert_close(chosen.grad, torch.full((3,), -0.15))
    torch.testing.assert_close(rejected.grad, torch.full((3,), 0.15))


def lowest(loss: object, beta: float) -> Tensor:
    """The margin of log-probabilities at which a pair's loss is lowest, on a fine grid."""
    margin = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    nothing = torch.zeros_like(margin)
    return margin[loss(margin, nothing, nothing, nothing, beta).loss.argmin()]  # type: ignore[operator]


@pytest.mark.parametrize("probability", [0.2, 0.5, 0.9])
def test_soft_labels_have_their_minimum_where_the_policy_agrees_with_them(
    probability: float,
) -> None:
    found = lowest(lambda *given: dpo(*given, probability=probability), 0.5)
    assert torch.sigmoid(0.5 * found) == pytest.approx(probability, abs=1e-3)
    one = torch.ones(1)
    found = lowest(lambda *given: ipo(*given, one, one, probability=probability), 0.5)
    assert found == pytest.approx((probability - 0.5) / 0.5, abs=1e-3)


def test_smoothing_is_a_probability_below_one_and_half_of_each_teaches_nothing() -> None:
    smoothed = dpo(*GOLDEN, beta=0.1, label_smoothing=0.1).loss
    torch.testing.assert_close(smoothed, dpo(*GOLDEN, beta=0.1, probability=0.9).loss)
    both = dpo(*GOLDEN, beta=0.1, probability=0.8, label_smoothing=0.1).loss
    torch.testing.assert_close(both, dpo(*GOLDEN, beta=0.1, probability=0.74).loss)
    turned = dpo(GOLDEN[1], GOLDEN[0], GOLDEN[3], GOLDEN[2], beta=0.1, probability=0.3)
    torch.testing.assert_close(turned.loss, dpo(*GOLDEN, beta=0.1, probability=0.7).loss)


def test_ipo_counts_by_token_so_that_longer_answers_lose_no_more() -> None:
    once = ipo(*GOLDEN, 0.1, torch.full((3,), 4), torch.full((3,), 6))
    twice = ipo(*[2 * one for one in GOLDEN], 0.1, torch.full((3,), 8), torch.full((3,), 12))
    torch.testing.assert_close(once.loss, twice.loss)
    torch.testing.assert_close(2 * once.chosen_reward, twice.chosen_reward)


def test_kto_lifts_the_desirable_over_the_baseline_and_lowers_the_others() -> None:
    policy = torch.tensor([-3.0, -3.0], requires_grad=True)
    desirable = torch.tensor([True, False])
    found = kto(policy, torch.tensor([-4.0, -4.0]), desirable, torch.tensor(1.0), 0.1)
    torch.testing.assert_close(found.loss, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(found.reward, torch.tensor([0.1, 0.1]))
    found.loss.sum().backward()
    torch.testing.assert_close(policy.grad, torch.tensor([-0.025, 0.025]))
    weighted = kto(
        policy.detach(), torch.tensor([-4.0, -4.0]), desirable, torch.tensor(1.0), 0.1,
        desirable_weight=2.0, undesirable_weight=3.0,
    )  # fmt: skip
    torch.testing.assert_close(weighted.loss, torch.tensor([1.0, 1.5]))


def test_ktos_baseline_is_never_negative_and_passes_no_gradient() -> None:
    policy = torch.tensor([-1.0, -2.0], requires_grad=True)
    assert kl_baseline(policy, torch.tensor([-2.0, -4.0])) == 1.5
    assert kl_baseline(policy, torch.tensor([0.0, 0.0])) == 0
    assert not kl_baseline(policy, torch.zeros(2)).requires_grad
