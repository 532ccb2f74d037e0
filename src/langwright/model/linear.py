"""Matrix products: of many rows in bfloat16, and of what can be made twice."""

from __future__ import annotations

from collections.abc import Callable
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
_LARGE = 2**19
"""Values from which on memory is worth more than making them twice."""
_RECIPE = "made_of"

Recipe = tuple[Callable[..., Tensor], list[Tensor]]


def remakable(x: Tensor, make: Callable[..., Tensor], *sources: Tensor) -> Tensor:
    """x, which is `make(*sources)`: `product` then keeps the sources for the backward pass, which
    are there anyway, and makes x from them once more."""
    if x.numel() >= _LARGE:
        setattr(x, _RECIPE, (x._version, make, [one.detach() for one in sources]))
    return x


def _recipe(x: Tensor) -> Recipe | None:
    found = getattr(x, _RECIPE, None)
    # Not of what has been written to since, by somebody's hook.
    return found[1:] if found is not None and found[0] == x._version else None


def product(x: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """x w^T + b, in x's type. A CPU without instructions for bfloat16 multiplies many rows several
    times as fast in float32, with the weights converted on the way."""
    many = x.numel() >= _MANY * x.shape[-1]
    narrow = x.dtype == torch.bfloat16 and x.device.type == "cpu" and many and not has_bfloat16()
    multiply = _widened if narrow else F.linear
    weight_NK = weight_NK if narrow else weight_NK.to(x.dtype)
    if by_hand(x) and (narrow or _recipe(x) is not None):
        y: Tensor = _Product.apply(x, weight_NK, bias_N, multiply, _recipe(x))
        return y
    return multiply(x, weight_NK, bias_N)


def _widened(x: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
    whole, step = x.float(), max(1, _STRETCH // weight_NK.shape[1])
    parts = [F.linear(whole, part.float()) for part in weight_NK.split(step)]
    y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    return (y if bias_N is None else y + bias_N.float()).to(x.dtype)


class _Product(torch.autograd.Function):
    """x w^T + b, for whose backward pass x is kept as it came, or what it is made of."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_NK: Tensor,
        bias_N: Tensor | None,
        multiply: Callable[..., Tensor],
        recipe: Recipe | None,
    ) -> Tensor:
        for_x, for_weight, *_ = ctx.needs_input_grad
        ctx.multiply, (ctx.make, sources) = multiply, recipe or (_itself, [x])
        ctx.save_for_backward(weight_NK if for_x else None, *(sources if for_weight else ()))
        return multiply(x, weight_NK, bias_N)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        weight_NK, *sources = ctx.saved_tensors
        for_x, for_weight, for_bias, *_ = ctx.needs_input_grad
        slope_RN, x_slope, weight_slope = slope.flatten(0, -2), None, None
        if for_x:
            x_slope = ctx.multiply(slope, weight_NK.t(), None)
        if for_weight:
            x_RK = ctx.make(*sources).flatten(0, -2)
            weight_slope = ctx.multiply(slope_RN.t(), x_RK.t(), None)
        bias_slope = slope_RN.float().sum(0).to(slope.dtype) if for_bias else None
        return x_slope, weight_slope, bias_slope, None, None


def _itself(x: Tensor) -> Tensor:
    return x


class Linear(nn.Linear):
    """`nn.Linear` by `product`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dtype != x.dtype:
            return super().forward(x)
        return product(x, self.weight, self.bias)
