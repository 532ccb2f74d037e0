"""How much better an answer, or a token of it, was than expected. No gradient passes here."""

from __future__ import annotations

import torch
from torch import Tensor

_EPSILON = 1e-8


def token_rewards(score_B: Tensor, kl_BT: Tensor, mask_BT: Tensor, beta: float) -> Tensor:
    """The reward of each token [B, T]: -beta * kl, and the answer's score at its last one
    (InstructGPT, Ouyang et al. 2022, eq. 2, by tokens). 0 outside of the mask; each answer must
    have a token in it."""
    if not bool(mask_BT.any(1).all()):
        raise ValueError("an answer has no token that could bear its score")
    rewards_BT = torch.where(mask_BT, -beta * kl_BT, 0.0).detach()
    places_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    last_B1 = torch.where(mask_BT, places_T, -1).amax(1, keepdim=True)
    return rewards_BT.scatter_add(1, last_B1, score_B.detach().to(rewards_BT.dtype)[:, None])


@torch.no_grad()
def gae(
    rewards_BT: Tensor,
    values_BT: Tensor,
    mask_BT: Tensor,
    gamma: float = 1.0,
    lambda_: float = 0.95,
) -> tuple[Tensor, Tensor]:
    """Generalised advantages (Schulman et al. 2016, eq. 16) and returns, both [B, T]:
    A_t = delta_t + gamma * lambda * A_t+1 with delta_t = r_t + gamma * V_t+1 - V_t; return = A + V.

    The value behind an answer's last token is 0. Tokens outside of the mask are stepped over, at
    the end and in between (what a tool said), and are 0 in both results.
    """
    advantages_BT = torch.zeros_like(values_BT)
    next_value_B = torch.zeros_like(values_BT[:, 0])
    advantage_B = torch.zeros_like(next_value_B)
    for t in reversed(range(values_BT.shape[1])):
        here_B = mask_BT[:, t]
        delta_B = rewards_BT[:, t] + gamma * next_value_B - values_BT[:, t]
        advantage_B = torch.where(here_B, delta_B + gamma * lambda_ * advantage_B, advantage_B)
        next_value_B = torch.where(here_B, values_BT[:, t], next_value_B)
        advantages_BT[:, t] = torch.where(here_B, advantage_B, 0.0)
    return advantages_BT, torch.where(mask_BT, advantages_BT + values_BT, 0.0)


@torch.no_grad()
def whiten(values_BT: Tensor, mask_BT: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Values of standard deviation 1 over the mask, and of mean 0; without `shift_mean` the mean
    stays what it was (as for rewards, in Ziegler et al. 2019's code). 0 outside of the mask.

    To be taken over all answers of a step at once: parts of it have other means.
    """
    num = mask_BT.sum()
    mean = torch.where(mask_BT, values_BT, 0.0).sum() / num.clamp(min=1)
    centred_BT = torch.where(mask_BT, values_BT - mean, 0.0)
    variance = (centred_BT**2).sum() / (num - 1).clamp(min=1)
    whitened_BT = centred_BT * torch.rsqrt(variance + _EPSILON)
    return whitened_BT if shift_mean else torch.where(mask_BT, whitened_BT + mean, 0.0)


def grpo_advantages(rewards_NG: Tensor) -> Tensor:
    """(r - mean) / (std + 1e-4) in each group of answers to one prompt [N, G] (DeepSeekMath, Shao
    et al. 2024, section 4.1.2). The deviation is the sample's, over G - 1."""
    centred_NG = _centred(rewards_NG)
    return centred_NG / (centred_NG.std(1, keepdim=True) + 1e-4)


def dr_grpo_advantages(rewards_NG: Tensor) -> Tensor:
    """r - mean in each group [N, G], not divided, so that a prompt weighs no more for being very
    easy or very hard (Dr. GRPO, Liu et al. 2025)."""
    return _centred(rewards_NG)


def rloo_advantages(rewards_NG: Tensor) -> Tensor:
    """r minus the mean of the *other* answers of its group [N, G] (leave one out; Kool et al. 2019,
    Ahmadian et al. 2024): G / (G - 1) times the difference from the mean of all."""
    num = rewards_NG.shape[1]
    return _centred(rewards_NG) * num / (num - 1)


def informative(rewards_NG: Tensor) -> Tensor:
    """Which groups teach anything, true or false [N]: those whose rewards are not all equal
    (DAPO's dynamic sampling, Yu et al. 2025, eq. 11)."""
    return (rewards_NG != rewards_NG[:, :1]).any(1)


def _centred(rewards_NG: Tensor) -> Tensor:
    if rewards_NG.shape[1] < 2:
        raise ValueError("a group needs two answers or more")
    # From the first one on, so that equal rewards are exactly 0 apart, which their rounded mean
    # would not give.
    apart_NG = (rewards_NG - rewards_NG[:, :1]).detach()
    return apart_NG - apart_NG.mean(1, keepdim=True)
