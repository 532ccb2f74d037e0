"""Matrix products of many rows in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.model.by_hand import by_hand
from langwright.model.torch_kernels import has_bfloat16

_MANY = 16
"""Rows from which on the detour pays: of 576 inputs and 1,536 outputs, AVX2."""
_STRETCH = 2**24
"""Weights that are converted at one time."""


def product(x: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """x w^T + b, in x's type. A CPU without instructions for bfloat16 multiplies many rows several
    times as fast in float32, with the weights converted on the way."""
    many = x.numel() >= _MANY * x.shape[-1]
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or not many or has_bfloat16():
        return F.linear(x, weight_NK.to(x.dtype), bias_N)
    if by_hand(x):
        y: Tensor = _Widened.apply(x, weight_NK, bias_N)
        return y
    return _widened(x, weight_NK, bias_N)


def _widened(x: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
    whole, step = x.float(), max(1, _STRETCH // weight_NK.shape[1])
    parts = [F.linear(whole, part.float()) for part in weight_NK.split(step)]
    y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    return (y if bias_N is None else y + bias_N.float()).to(x.dtype)


class _Widened(torch.autograd.Function):
    """`_widened`, of which x is kept for the backward pass and not what it was widened to."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight_NK)
        return _widened(x, weight_NK, bias_N)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight_NK = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        slope_RN = slope.flatten(0, -2)
        return (
            _widened(slope, weight_NK.t(), None) if for_x else None,
            _widened(slope_RN.t(), x.flatten(0, -2).t(), None) if for_weight else None,
            slope_RN.float().sum(0).to(slope.dtype) if for_bias else None,
        )


class Linear(nn.Linear):
    """`nn.Linear` by `product`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dtype != x.dtype:
            return super().forward(x)
        return product(x, self.weight, self.bias)
