"""Matrix products of many rows in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    whole, step = x.float(), max(1, _STRETCH // weight_NK.shape[1])
    parts = [F.linear(whole, part.float()) for part in weight_NK.split(step)]
    y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    return (y if bias_N is None else y + bias_N.float()).to(x.dtype)


class Linear(nn.Linear):
    """`nn.Linear` by `product`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dtype != x.dtype:
            return super().forward(x)
        return product(x, self.weight, self.bias)
