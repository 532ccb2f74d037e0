"""Losses of policy and value, what the tokens weigh, and the figures beside them."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch.distributions import Categorical

from langwright.training.objectives import (
    Reduction,
    clipped_surrogate,
    clipped_value_loss,
    entropy,
    num_units,
    policy_figures,
    token_weights,
)

OLD = torch.tensor([0.5, 0.8, 1.2])
ONES = torch.ones(3)


@pytest.mark.parametrize(
    ("policy", "loss"),
    [
        (OLD + 1.0, -1.2),
        (OLD - 1.0, -math.exp(-1)),
        (OLD + 0.1, -math.exp(0.1)),
    ],
)
def test_torchtunes_cases_of_the_clipped_surrogate(policy: torch.Tensor, loss: float) -> None:
    """High, low and within the clip, with the value of the formula that its comments give (its own
    assertions have a relative tolerance of a million, and two wrong numbers)."""
    torch.testing.assert_close(clipped_surrogate(policy, OLD, ONES), torch.full((3,), loss))


def test_the_clip_only_ever_takes_gain_away() -> None:
    """Schulman et al. 2017, figure 1: no gradient beyond the clip on the side that gains, the full
    one on the side that loses."""
    for sign, ratio, moves in [(1, 1.5, False), (1, 0.5, True), (-1, 0.5, False), (-1, 1.5, True)]:
        policy = torch.tensor([math.log(ratio)], requires_grad=True)
        loss = clipped_surrogate(policy, torch.zeros(1), torch.tensor([float(sign)]))
        loss.sum().backward()
        assert policy.grad is not None
        assert bool(policy.grad != 0) == moves


def test_clip_higher_lets_unlikely_tokens_grow() -> None:
    policy, old = torch.log(torch.tensor([1.25])), torch.zeros(1)
    assert float(clipped_surrogate(policy, old, torch.ones(1))) == pytest.approx(-1.2)
    assert float(clipped_surrogate(policy, old, torch.ones(1), 0.2, 0.28)) == pytest.approx(-1.25)


def test_old_equal_to_new_has_ratio_1_clip_fraction_0_and_reinforces_gradient() -> None:
    torch.manual_seed(0)
    policy = (torch.randn(4, 9) * 10).requires_grad_()
    advantages, mask = torch.randn(4, 9), torch.rand(4, 9) < 0.7
    figures = policy_figures(policy, policy.detach(), advantages, mask)
    assert figures == {"ratio": float(mask.sum()), "clip_fraction": 0.0, "approximate_kl": 0.0}
    clipped_surrogate(policy, policy.detach(), advantages).sum().backward()
    torch.testing.assert_close(policy.grad, -advantages, atol=0, rtol=0)


def test_the_figures_count_the_mask_alone_and_only_what_the_clip_has_taken() -> None:
    ratio = torch.tensor([[1.5, 1.5, 0.5, 0.5, 1.1, 9.0]])
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0, 1.0]])
    mask = torch.tensor([[True] * 5 + [False]])
    figures = policy_figures(ratio.log(), torch.zeros(1, 6), advantages, mask)
    assert figures["clip_fraction"] == 2
    assert figures["ratio"] == pytest.approx(5.1)
    assert figures["approximate_kl"] == pytest.approx(
        sum(r - 1 - math.log(r) for r in ratio[0, :5].tolist()), rel=1e-5
    )


def test_a_value_may_not_gain_by_leaving_its_clip() -> None:
    returns, old = torch.ones(3), torch.zeros(3)
    values = torch.tensor([0.1, 0.9, -2.0], requires_grad=True)
    loss = clipped_value_loss(values, old, returns)
    # Within the clip the square; beyond it towards the return that of the clipped value, and away
    # from it the larger again.
    torch.testing.assert_close(loss, torch.tensor([0.81, 0.64, 9.0]) / 2)
    loss.sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([-0.9, 0.0, -3.0]))


MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("token_mean", (1 + 2 + 3 + 4 + 50) / 5),
        ("sequence_mean", (2.5 + 50) / 2),
        ("constant", (10 + 50) / 2 / 8),
        ("sequence_sum", (10 + 50) / 2),
    ],
)
def test_what_the_tokens_of_answers_of_4_and_1_add_up_to(
    reduction: Reduction, expected: float
) -> None:
    losses = torch.tensor([[1.0, 2, 3, 4], [50, 9, 9, 9], [9, 9, 9, 9]])
    total = (token_weights(MASK, reduction, 8) * losses).sum()
    assert float(total) / num_units(MASK, reduction) == pytest.approx(expected)


@pytest.mark.parametrize("reduction", get_args(Reduction))
def test_micro_batches_of_any_cut_have_the_loss_of_the_step(reduction: Reduction) -> None:
    torch.manual_seed(0)
    losses = torch.randn(8, 7)
    mask = torch.arange(7) < torch.randint(1, 8, (8, 1))
    whole = (token_weights(mask, reduction, 7) * losses).sum() / num_units(mask, reduction)
    parts, units = torch.zeros(()), 0
    for cut in (slice(0, 1), slice(1, 6), slice(6, 8)):
        parts += (token_weights(mask[cut], reduction, 7) * losses[cut]).sum()
        units += num_units(mask[cut], reduction)
    torch.testing.assert_close(parts / units, whole)


def test_only_the_mean_of_a_sequence_favours_long_wrong_answers() -> None:
    """Dr. GRPO (Liu et al. 2025): with GRPO's division by length a token of a wrong answer is
    punished less the longer it is; by a constant, alike."""
    lengths = torch.tensor([[2], [8]])
    mask = torch.arange(8) < lengths
    for reduction, apart in (("sequence_mean", 4.0), ("constant", 1.0), ("token_mean", 1.0)):
        policy = torch.zeros(2, 8, requires_grad=True)
        wrong = clipped_surrogate(policy, torch.zeros(2, 8), torch.full((2, 1), -1.0))
        (token_weights(mask, reduction, 8) * wrong).sum().backward()  # type: ignore[arg-type]
        assert policy.grad is not None
        assert float(policy.grad[0, 0] / policy.grad[1, 0]) == pytest.approx(apart)


def test_the_constant_wants_its_divisor() -> None:
    with pytest.raises(ValueError, match="longest"):
        token_weights(MASK, "constant")


def test_entropy_is_torchs_own_from_logits_or_log_probabilities() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 11) * 4
    expected = Categorical(logits=logits).entropy()
    torch.testing.assert_close(entropy(logits), expected)
    torch.testing.assert_close(entropy(logits.log_softmax(-1)), expected)
    assert float(entropy(torch.zeros(1, 1, 8))) == pytest.approx(math.log(8))


def test_words_that_are_ruled_out_add_nothing_to_the_entropy_nor_to_its_gradient() -> None:
    logits = torch.tensor([[[1.0, 2.0, -torch.inf]]], requires_grad=True)
    found = entropy(logits)
    torch.testing.assert_close(found, entropy(torch.tensor([[[1.0, 2.0]]])))
    found.sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
