"""Cross-entropy of a language model's head that never holds the logits of all its rows.

The logits are a model's largest tensor (4,096 tokens x 8,192 words in float32: 134 MB, and a
softmax and its gradient beside them). Here a stretch of rows goes through head, softmax and
gradient before the next one begins; what stays is the gradient of the hidden states and of the
head's weight. The numbers are those of `F.cross_entropy` on the whole logits.

Legend: N rows, E hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from langwright.model import gpu_loss
from langwright.model.linear import product

IGNORED = -100
"""A target that is not learnt."""

_LOGITS = {"cpu": 2**22, "cuda": 2**28}
"""How many logits to hold at once: about what a processor's cache holds, and enough rows to fill a
GPU."""

_LEAST_ROWS = 256
"""Fewer rows make products of a large vocabulary slow: its weights are read anew for each piece. Of
49,152 words, 1,024 rows: 3.2 s in pieces of 42, 1.5 in pieces of 256 and more (2 cores)."""


def rows_at_once(hidden_NE: Tensor, weight_VE: Tensor) -> int:
    """How many rows go through the head together."""
    held = _LOGITS.get(hidden_NE.device.type, 2**24)
    most = max(held // weight_VE.shape[0], _LEAST_ROWS)
    pieces = max(1, -(-len(hidden_NE) // most))
    return max(1, -(-len(hidden_NE) // pieces))


def cross_entropy_sum(
    hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, softcap: float | None = None
) -> Tensor:
    """Sum over the rows of -log softmax(cap(hidden weight^T))[target], in nats, float32. Rows whose
    target is IGNORED add nothing. The products are in hidden's type, all else in float32."""
    total: Tensor = _Chunked.apply(hidden_NE, weight_VE, targets_N, softcap)
    return total


class _Chunked(torch.autograd.Function):
    """The gradient is made on the way forward, while the logits are there."""

    @staticmethod
    def forward(
        ctx: Any, hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, softcap: float | None
    ) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        total = hidden_NE.new_zeros((), dtype=torch.float32)
        slope_NE = torch.empty_like(hidden_NE) if wants_hidden else None
        slope_VE = torch.zeros_like(weight_VE, dtype=torch.float32) if wants_weight else None
        stretch = _for_gpu() if hidden_NE.is_cuda else _in_place
        rows = rows_at_once(hidden_NE, weight_VE)
        for start in range(0, len(hidden_NE), rows):
            part = slice(start, start + rows)
            hidden = hidden_NE[part]
            loss, slope_RV = stretch(product(hidden, weight_VE), targets_N[part], softcap)
            total += loss
            if slope_NE is not None:
                slope_NE[part] = product(slope_RV, weight_VE.t())
            if slope_VE is not None and hidden.dtype == torch.float32:
                slope_VE.addmm_(slope_RV.t(), hidden)
            elif slope_VE is not None:
                slope_VE += product(slope_RV.t(), hidden.t())
        ctx.save_for_backward(slope_NE, slope_VE)
        ctx.weight_dtype = weight_VE.dtype
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        slope_NE, slope_VE = ctx.saved_tensors
        hidden = None if slope_NE is None else slope_NE * slope.to(slope_NE.dtype)
        weight = None if slope_VE is None else (slope_VE * slope).to(ctx.weight_dtype)
        return hidden, weight, None, None


def _plain(products_RV: Tensor, targets_R: Tensor, softcap: float | None) -> tuple[Tensor, Tensor]:
    """The loss of these rows, and its gradient by `products_RV`, what the head makes of them."""
    logits_RV = products_RV.float()
    bent_RV = None if softcap is None else torch.tanh(logits_RV / softcap)
    if bent_RV is not None and softcap is not None:
        logits_RV = bent_RV * softcap
    learnt_R1 = (targets_R != IGNORED)[:, None]
    places_R1 = targets_R.clamp(min=0)[:, None]
    norms_R1 = logits_RV.logsumexp(1, keepdim=True)
    losses_R1 = norms_R1 - logits_RV.gather(1, places_R1)
    words_V = torch.arange(logits_RV.shape[1], device=logits_RV.device)
    slope_RV = (logits_RV - norms_R1).exp() - (words_V == places_R1).float()
    if bent_RV is not None:
        slope_RV = slope_RV * (1 - bent_RV.square())
    slope_RV = (slope_RV * learnt_R1).to(products_RV.dtype)
    return torch.where(learnt_R1, losses_R1, 0.0).sum(), slope_RV


def _in_place(
    products_RV: Tensor, targets_R: Tensor, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """As `_plain`, in the memory of the products where they are float32."""
    logits_RV = products_RV.float()
    learnt_R1 = (targets_R != IGNORED)[:, None]
    places_R1 = targets_R.clamp(min=0)[:, None]
    bent_RV = None
    if softcap is not None:
        bent_RV = logits_RV.div_(softcap).tanh_().clone()
        logits_RV.mul_(softcap)
    chosen_R1 = logits_RV.gather(1, places_R1)
    highest_R1 = logits_RV.amax(1, keepdim=True)
    sums_R1 = logits_RV.sub_(highest_R1).exp_().sum(1, keepdim=True)
    losses_R1 = sums_R1.log() + highest_R1 - chosen_R1
    # softmax - one at the target; nothing where nothing is learnt.
    logits_RV.mul_(learnt_R1 / sums_R1)
    logits_RV.scatter_add_(1, places_R1, -learnt_R1.to(logits_RV.dtype))
    if bent_RV is not None:
        logits_RV.mul_(1 - bent_RV.square_())
    return torch.where(learnt_R1, losses_R1, 0.0).sum(), logits_RV.to(products_RV.dtype)


def _for_gpu() -> Callable[[Tensor, Tensor, float | None], tuple[Tensor, Tensor]]:
    """Triton's kernel; where torch comes without Triton, `_plain`."""
    if not gpu_loss.INSTALLED:
        return _plain
    return partial(gpu_loss.loss_and_slope, ignored=IGNORED)
