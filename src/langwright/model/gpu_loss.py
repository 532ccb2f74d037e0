"""The loss of some rows and its gradient in two passes over their logits, for GPUs (Triton).

A kernel of our own and not torch's compiler: that makes another program for other numbers of rows,
which adds up in another order, so that a loss would depend on what was computed before it.
"""

from __future__ import annotations

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:  # torch for processors, and for Windows, comes without
    triton = None
INSTALLED = triton is not None

_BLOCK = 8192
"""Logits that a program holds at once."""


if INSTALLED:
    # Triton reads the types of arguments as values that it knows: there are none here.
    @triton.jit
    def _kernel(  # type: ignore[no-untyped-def]
        logits, targets, losses, stride, size, cap,
        IGNORED: tl.constexpr, CAPPED: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        """One row a program. The softmax's sum is kept along with the largest value so far
        (Milakov and Gimelshein 2018)."""
        row = tl.program_id(0).to(tl.int64)
        logits += row * stride
        places = tl.arange(0, BLOCK)
        target = tl.load(targets + row)
        if target == IGNORED:
            for start in range(0, size, BLOCK):
                at = start + places
                tl.store(logits + at, tl.zeros([BLOCK], tl.float32), mask=at < size)
            tl.store(losses + row, 0.0)
        else:
            # Read before any is written: the sums between make all threads wait for each other.
            chosen = tl.load(logits + target).to(tl.float32)
            if CAPPED:
                chosen = cap * (2 * tl.sigmoid(2 * chosen / cap) - 1)
            most = tl.full([], float("-inf"), tl.float32)
            total = tl.zeros([], tl.float32)
            for start in range(0, size, BLOCK):
                at = start + places
                x = tl.load(logits + at, mask=at < size, other=0.0).to(tl.float32)
                if CAPPED:
                    x = cap * (2 * tl.sigmoid(2 * x / cap) - 1)
                x = tl.where(at < size, x, float("-inf"))
                larger = tl.maximum(most, tl.max(x, 0))
                total = total * tl.exp(most - larger) + tl.sum(tl.exp(x - larger), 0)
                most = larger
            norm = most + tl.log(total)
            for start in range(0, size, BLOCK):
                at = start + places
                x = tl.load(logits + at, mask=at < size, other=0.0).to(tl.float32)
                if CAPPED:
                    x = cap * (2 * tl.sigmoid(2 * x / cap) - 1)
                slope = tl.exp(x - norm) - tl.where(at == target, 1.0, 0.0)
                if CAPPED:
                    slope = slope * (1 - (x / cap) * (x / cap))
                tl.store(logits + at, slope, mask=at < size)
            tl.store(losses + row, norm - chosen)


def loss_and_slope(
    logits_RV: Tensor, targets_R: Tensor, softcap: float | None, ignored: int
) -> tuple[Tensor, Tensor]:
    """The sum of the losses (float32), and the gradient in the memory of the logits."""
    losses_R = torch.empty(len(targets_R), dtype=torch.float32, device=logits_RV.device)
    size = logits_RV.shape[1]
    block = min(_BLOCK, triton.next_power_of_2(size))
    how = {"IGNORED": ignored, "CAPPED": softcap is not None, "BLOCK": block}
    cap = 1.0 if softcap is None else softcap
    if len(targets_R):
        _kernel[(len(targets_R),)](
            logits_RV, targets_R, losses_R, logits_RV.stride(0), size, cap, **how,
            num_warps=max(1, block // 512),
        )  # fmt: skip
    return losses_R.sum(), logits_RV
