"""Losses that learn from judged answers without a reward model: DPO, IPO, the hinge, KTO."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class Pairwise(NamedTuple):
    """Of each pair, the loss [P], and the implicit rewards of its answers [P], detached: beta times
    the log-ratio of policy and reference (Rafailov et al. 2023, eq. 5, up to a term of the prompt
    alone)."""

    loss: Tensor
    chosen_reward: Tensor
    rejected_reward: Tensor


def dpo(
    policy_chosen_P: Tensor,
    policy_rejected_P: Tensor,
    reference_chosen_P: Tensor,
    reference_rejected_P: Tensor,
    beta: float,
    *,
    probability: Tensor | float = 1.0,
    label_smoothing: float = 0.0,
) -> Pairwise:
    """Direct preference optimisation (Rafailov et al. 2023, eq. 7): -log sigmoid(beta * margin),
    the margin being the difference of the answers' log-ratios.

    The arguments are log-probabilities of whole answers: sums over their tokens. `probability` [P]
    is how probable it is that the chosen answer is the better one (a soft label); `label_smoothing`
    is the share of labels held to be wrong (conservative DPO, Mitchell 2023).
    """
    chosen_P = policy_chosen_P - reference_chosen_P
    rejected_P = policy_rejected_P - reference_rejected_P
    certain = probability * (1 - label_smoothing) + (1 - probability) * label_smoothing
    loss_P = _expected(lambda margin: -logsigmoid(beta * margin), chosen_P - rejected_P, certain)
    return _pairwise(loss_P, chosen_P, rejected_P, beta)


def ipo(
    policy_chosen_P: Tensor,
    policy_rejected_P: Tensor,
    reference_chosen_P: Tensor,
    reference_rejected_P: Tensor,
    beta: float,
    num_chosen_P: Tensor,
    num_rejected_P: Tensor,
    *,
    probability: Tensor | float = 1.0,
) -> Pairwise:
    """Identity preference optimisation (Azar et al. 2023, eq. 17): (margin - 1 / (2 beta))^2.

    The log-ratio of each answer is divided by its number of tokens, `num_chosen_P` and
    `num_rejected_P`, before the margin is taken, as TRL does on its authors' word: beta is then per
    token, and sums over tokens would make the loss grow with length. The implicit rewards are not
    divided. A soft label's minimum lies at a margin of (probability - 1/2) / beta.
    """
    chosen_P = policy_chosen_P - reference_chosen_P
    rejected_P = policy_rejected_P - reference_rejected_P
    margin_P = chosen_P / num_chosen_P - rejected_P / num_rejected_P
    loss_P = _expected(lambda margin: (margin - 1 / (2 * beta)) ** 2, margin_P, probability)
    return _pairwise(loss_P, chosen_P, rejected_P, beta)


def hinge(
    policy_chosen_P: Tensor,
    policy_rejected_P: Tensor,
    reference_chosen_P: Tensor,
    reference_rejected_P: Tensor,
    beta: float,
    *,
    probability: Tensor | float = 1.0,
) -> Pairwise:
    """max(0, 1 - beta * margin) (SLiC-HF, Zhao et al. 2023, normalised by the reference as in RSO,
    Liu et al. 2023)."""
    chosen_P = policy_chosen_P - reference_chosen_P
    rejected_P = policy_rejected_P - reference_rejected_P
    loss_P = _expected(
        lambda margin: torch.relu(1 - beta * margin), chosen_P - rejected_P, probability
    )
    return _pairwise(loss_P, chosen_P, rejected_P, beta)


class Kto(NamedTuple):
    """Of each example, the loss [N] and the implicit reward [N], detached."""

    loss: Tensor
    reward: Tensor


def kto(
    policy_N: Tensor,
    reference_N: Tensor,
    desirable_N: Tensor,
    baseline: Tensor,
    beta: float,
    *,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Kto:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024, eq. 7): single answers, each called
    desirable (true in `desirable_N`) or not.

    weight * (1 - sigmoid(±beta * (log-ratio - baseline))), plus where desirable, minus where not.
    Weight times number of desirable examples should be 1 to 4/3 times that of the others (eq. 8).
    `baseline` is `kl_baseline`'s.
    """
    ratio_N = policy_N - reference_N
    sign_N = torch.where(desirable_N, 1.0, -1.0).to(ratio_N.dtype)
    weight_N = torch.where(desirable_N, desirable_weight, undesirable_weight).to(ratio_N.dtype)
    # 1 - sigmoid(x), without the difference of two numbers that are near to 1.
    loss_N = weight_N * torch.sigmoid(-beta * sign_N * (ratio_N - baseline))
    return Kto(loss_N, (beta * ratio_N).detach())


def kl_baseline(policy_M: Tensor, reference_M: Tensor) -> Tensor:
    """KTO's estimate of the KL divergence of policy and reference [0-d]: the mean
    log-ratio of mismatched pairs, each prompt with the answer to another one, at least 0. No
    gradient passes it."""
    return (policy_M - reference_M).detach().mean().clamp(min=0)


def _expected(
    loss: Callable[[Tensor], Tensor], margin_P: Tensor, probability: Tensor | float
) -> Tensor:
    """The mean loss where the label is right with this probability, and turned round if not."""
    return probability * loss(margin_P) + (1 - probability) * loss(-margin_P)


def _pairwise(loss_P: Tensor, chosen_P: Tensor, rejected_P: Tensor, beta: float) -> Pairwise:
    return Pairwise(loss_P, (beta * chosen_P).detach(), (beta * rejected_P).detach())
