"""Losses of a reward model: it gives the better answer the larger number."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry(
    chosen_P: Tensor,
    rejected_P: Tensor,
    *,
    margin: Tensor | float = 0.0,
    probability: Tensor | float = 1.0,
) -> Tensor:
    """Of each pair, -log sigmoid(r_chosen - r_rejected - margin) [P] (Bradley and Terry 1952; the
    margin as in Llama 2, Touvron et al. 2023, eq. 2).

    `probability` is how probable it is that the chosen answer is the better one (a soft label); the
    margin then stands on whichever side is better.
    """
    lead_P = chosen_P - rejected_P
    return -probability * logsigmoid(lead_P - margin) - (1 - probability) * logsigmoid(
        -lead_P - margin
    )


def ranked(reward_NG: Tensor, rank_NG: Tensor, mask_NG: Tensor) -> Tensor:
    """Of each prompt, the mean of -log sigmoid(r_better - r_worse) over all pairs of its answers
    [N] (InstructGPT, Ouyang et al. 2022, eq. 1): K answers are one unit, divided by K choose 2.

    Rank 0 is best; where `mask_NG` is false there is no answer. Answers of equal rank are no pair,
    and the mean is over the pairs that are there. A prompt without any has the loss 0 and is no
    unit: `decided` tells which have one.
    """
    better_NGG = _better(rank_NG, mask_NG)
    lead_NGG = reward_NG[:, :, None] - reward_NG[:, None, :]
    loss_N = -torch.where(better_NGG, logsigmoid(lead_NGG), 0.0).sum((1, 2))
    return loss_N / better_NGG.sum((1, 2)).clamp(min=1)


def decided(rank_NG: Tensor, mask_NG: Tensor) -> Tensor:
    """Which prompts have two answers of different rank, true or false [N]."""
    return _better(rank_NG, mask_NG).any(2).any(1)


def _better(rank_NG: Tensor, mask_NG: Tensor) -> Tensor:
    """Whether the first answer stands before the second [N, G, G]."""
    there_NGG = mask_NG[:, :, None] & mask_NG[:, None, :]
    return there_NGG & (rank_NG[:, :, None] < rank_NG[:, None, :])
