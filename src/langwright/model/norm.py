"""Normalisation of the residual stream."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.model.architecture import Architecture
from langwright.model.by_hand import by_hand
from langwright.model.linear import remakable


class RMSNorm(nn.Module):
    """x / rms(x) * (offset + weight) over the last dimension (Zhang and Sennrich 2019), computed
    in float32 and returned in x's type."""

    def __init__(self, size: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), 1.0 - offset))
        self.eps, self.offset = eps, offset

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.float() + self.offset if self.offset else self.weight.float()
        if by_hand(x):
            make = partial(_normed, eps=self.eps)
            return remakable(_Normed.apply(x, weight, self.eps), make, x, weight)
        return F.rms_norm(x.float(), self.weight.shape, weight, self.eps).to(x.dtype)


def _normed(x: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return (wide * _scale(wide, eps)).mul_(weight_E).to(x.dtype)


def _scale(x: Tensor, eps: float) -> Tensor:
    """1 / rms(x) over the last dimension, which is kept."""
    norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norms.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


class _Normed(torch.autograd.Function):
    """`F.rms_norm` over the last dimension, E wide: y = w n with n = x r, r = 1 / rms(x), so that
    dL/dw = sum of n dL/dy over the rows, and dL/dx = r (w dL/dy - n mean(n w dL/dy))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_E: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight_E)
        ctx.eps = eps
        return _normed(x, weight_E, eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight_E = ctx.saved_tensors
        wide, slope = x.float(), slope.float()
        scale = _scale(wide, ctx.eps)
        normed = wide * scale
        part_NE = (slope * normed).flatten(0, -2)
        for_weight = part_NE.sum(0) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, for_weight, None
        mean = (part_NE @ weight_E).div_(x.shape[-1]).view(scale.shape)
        for_x = (slope * weight_E).addcmul_(normed, mean, value=-1).mul_(scale)
        return for_x.to(x.dtype), for_weight, None


def norm_of(shape: Architecture) -> nn.Module:
    """The norm of a family, over the residual stream."""
    if shape.norm == "layer":
        return nn.LayerNorm(shape.hidden_size, shape.norm_eps)
    return RMSNorm(shape.hidden_size, shape.norm_eps, shape.norm_offset)
