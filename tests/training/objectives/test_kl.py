"""Estimators of the Kullback-Leibler divergence, their gradients, and the controller."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from langwright.training.objectives import adapt_beta, k1, k2, k3


def test_schulmans_means_and_deviations_at_a_true_divergence_of_0_005() -> None:
    policy, reference = Normal(0.0, 1.0), Normal(0.1, 1.0)
    torch.manual_seed(0)
    drawn = policy.sample((4_000_000,))
    logprobs = policy.log_prob(drawn), reference.log_prob(drawn)
    found = {one.__name__: one(*logprobs) for one in (k1, k2, k3)}
    for estimate in found.values():
        assert float(estimate.mean()) == pytest.approx(0.005, abs=2e-4)
    deviations = {name: round(float(one.std()), 3) for name, one in found.items()}
    assert deviations == {"k1": 0.1, "k2": 0.007, "k3": 0.007}
    assert float(found["k2"].min()) >= 0
    assert float(found["k3"].min()) >= 0


def test_what_each_estimator_teaches_as_a_loss() -> None:
    """k2 the divergence, k1 nothing, k3 the divergence the other way round."""
    torch.manual_seed(0)
    logits = torch.randn(6, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(6, dtype=torch.float64).log_softmax(0)

    def gradient(value: Tensor) -> Tensor:
        return torch.autograd.grad(value, logits)[0]

    def taught(estimator: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The mean over all tokens, each as often as the policy draws it."""
        policy = logits.log_softmax(0)
        return gradient((policy.exp().detach() * estimator(policy, reference)).sum())

    policy = logits.log_softmax(0)
    forth = gradient((policy.exp() * (policy - reference)).sum())
    policy = logits.log_softmax(0)
    back = gradient((reference.exp() * (reference - policy)).sum())
    torch.testing.assert_close(taught(k2), forth)
    torch.testing.assert_close(taught(k3), back)
    torch.testing.assert_close(taught(k1), torch.zeros_like(logits))
    assert float((forth - back).abs().max()) > 0.01


@pytest.mark.parametrize(
    ("kl", "answers", "beta"),
    [
        (6.0, 512, 0.15),
        (6.6, 512, 0.15 * (1 + 0.1 * 0.0512)),
        (5.4, 512, 0.15 * (1 - 0.1 * 0.0512)),
        (600.0, 512, 0.15 * (1 + 0.2 * 0.0512)),
        (-3.0, 512, 0.15 * (1 - 0.2 * 0.0512)),
        (600.0, 10_000, 0.18),
    ],
)
def test_the_controllers_steps(kl: float, answers: int, beta: float) -> None:
    assert adapt_beta(0.15, kl, target=6.0, num_answers=answers) == pytest.approx(beta, rel=1e-12)
