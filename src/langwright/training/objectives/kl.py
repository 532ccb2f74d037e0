"""How far the policy is from its reference, and what that costs.

The estimators are of KL(policy || reference), for tokens drawn from the policy (Schulman 2020,
http://joschu.net/blog/kl-approx.html, with r = reference / policy). In a *reward* take `k1`: no
gradient passes there, and its mean is right. In a *loss* take `k2`: its mean's gradient is that of
the divergence. That of `k1` is 0 in the mean, and that of `k3` (which GRPO has, Shao et al. 2024,
eq. 4) is the gradient of KL(reference || policy), another divergence with another optimum than
reference * exp(reward / beta).
"""

from __future__ import annotations

import torch
from torch import Tensor


def k1(policy: Tensor, reference: Tensor) -> Tensor:
    """-log r: unbiased, and negative for many tokens. Log-probabilities of any one shape."""
    return policy - reference


def k2(policy: Tensor, reference: Tensor) -> Tensor:
    """(log r)^2 / 2: never negative, slightly biased, of low variance."""
    return (reference - policy) ** 2 / 2


def k3(policy: Tensor, reference: Tensor) -> Tensor:
    """r - 1 - log r: never negative, unbiased, of low variance near the reference."""
    log_ratio = reference - policy
    return torch.expm1(log_ratio) - log_ratio


def adapt_beta(
    beta: float, kl: float, target: float, num_answers: int, horizon: int = 10_000
) -> float:
    """The next coefficient of an adaptive controller (Ziegler et al. 2019, section 2.2):
    beta * (1 + clip(kl / target - 1, -0.2, 0.2) * num_answers / horizon).

    `kl` is the mean over the answers of the step, in nats of a whole answer; `target` too. Its
    published values: beta 0.15 at the start, target 6. A fixed coefficient is not passed through.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * num_answers / horizon)
