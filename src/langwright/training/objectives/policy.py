"""The losses of policy and value for each token, how they add up, and what is watched of them."""

from __future__ import annotations

from typing import Literal, assert_never

import torch
from torch import Tensor

Reduction = Literal["token_mean", "sequence_mean", "constant", "sequence_sum"]
"""How the losses of tokens make one of the step:

`token_mean`: over all tokens of the step alike (DAPO, Yu et al. 2025, eq. 12).
`sequence_mean`: the mean of the answers' means (GRPO, Shao et al. 2024, eq. 3), in which a token of
a long answer counts less.
`constant`: each answer's sum over one constant, the longest length allowed (Dr. GRPO, Liu et al.
2025), so that length is neither punished nor rewarded.
`sequence_sum`: the mean of the answers' sums (REINFORCE, RLOO)."""


def clipped_surrogate(
    policy_BT: Tensor,
    old_BT: Tensor,
    advantages_BT: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Tensor:
    """PPO's loss of each token [B, T] (Schulman et al. 2017, eq. 7):
    max(-A * ratio, -A * clip(ratio, 1 - clip_low, 1 + clip_high)), ratio = policy / old.

    The arguments are log-probabilities of the tokens and their advantages, [B, 1] where those of an
    answer are all the same. DAPO's clip-higher is a `clip_high` of 0.28 (Yu et al. 2025, eq. 10).
    Of log-probabilities of whole answers [B, 1] it is the loss that TRL's RLOO has.
    """
    ratio_BT = torch.exp(policy_BT - old_BT)
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    return torch.maximum(-advantages_BT * ratio_BT, -advantages_BT * clipped_BT)


def clipped_value_loss(
    values_BT: Tensor, old_values_BT: Tensor, returns_BT: Tensor, clip: float = 0.2
) -> Tensor:
    """Half the larger of the squared errors of the value, and of the value held within `clip` of
    the old one [B, T] (OpenAI's baselines; "The N+ implementation details of RLHF with PPO", Huang
    et al. 2024)."""
    held_BT = old_values_BT + (values_BT - old_values_BT).clamp(-clip, clip)
    return torch.maximum((values_BT - returns_BT) ** 2, (held_BT - returns_BT) ** 2) / 2


def token_weights(mask_BT: Tensor, reduction: Reduction, longest: int | None = None) -> Tensor:
    """The weight of each token's loss [B, T], 0 outside of the mask. The loss of a step is the sum
    of weight * loss over all its micro-batches, divided by the sum of their `num_units`. Outside of
    the mask the loss must be finite, as 0 times infinity is not 0.

    `longest`, the constant's divisor, is the number of tokens that an answer may have.
    """
    weights_BT = mask_BT.to(torch.float32)
    if reduction == "sequence_mean":
        return weights_BT / weights_BT.sum(1, keepdim=True).clamp(min=1)
    if reduction == "constant":
        if longest is None:
            raise ValueError("the reduction 'constant' needs the longest length")
        return weights_BT / longest
    return weights_BT


def num_units(mask_BT: Tensor, reduction: Reduction) -> int:
    """What the step's loss is divided by: tokens of the mask, or answers that have one."""
    match reduction:
        case "token_mean":
            return int(mask_BT.sum())
        case "sequence_mean" | "constant" | "sequence_sum":
            return int(mask_BT.any(1).sum())
        case _:
            assert_never(reduction)


@torch.no_grad()
def policy_figures(
    policy_BT: Tensor,
    old_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> dict[str, float]:
    """Sums over the tokens of the mask, to be divided by their number in the whole step.

    `ratio`: policy / old, 1 on the first pass. `clip_fraction`: tokens whose gradient the clip has
    taken. `approximate_kl`: of old and new policy, by k3 with tokens of the old one.
    """
    log_ratio_BT = policy_BT - old_BT
    ratio_BT = torch.exp(log_ratio_BT)
    held_BT = ((ratio_BT > 1 + clip_high) & (advantages_BT > 0)) | (
        (ratio_BT < 1 - clip_low) & (advantages_BT < 0)
    )
    found = {
        "ratio": ratio_BT,
        "clip_fraction": held_BT,
        "approximate_kl": torch.expm1(log_ratio_BT) - log_ratio_BT,
    }
    return {name: float(torch.where(mask_BT, one, 0).sum()) for name, one in found.items()}


def entropy(logits_BTV: Tensor) -> Tensor:
    """Of each place, the entropy in nats of the next token [B, T], from logits or from
    log-probabilities (which are logits too). Words ruled out by -inf add nothing."""
    logprobs_BTV = torch.log_softmax(logits_BTV, -1)
    finite_BTV = logprobs_BTV.masked_fill(logprobs_BTV == -torch.inf, 0.0)
    return -(logprobs_BTV.exp() * finite_BTV).sum(-1)
