"""Normalisation of the residual stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.model.architecture import Architecture


class RMSNorm(nn.Module):
    """x / rms(x) * (offset + weight) over the last dimension (Zhang and Sennrich 2019), computed
    in float32 and returned in x's type."""

    def __init__(self, size: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), 1.0 - offset))
        self.eps, self.offset = eps, offset

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.float() + self.offset if self.offset else self.weight.float()
        normed = F.rms_norm(x.float(), self.weight.shape, weight, self.eps)
        return normed.to(x.dtype)


def norm_of(shape: Architecture) -> nn.Module:
    """The norm of a family, over the residual stream."""
    if shape.norm == "layer":
        return nn.LayerNorm(shape.hidden_size, shape.norm_eps)
    return RMSNorm(shape.hidden_size, shape.norm_eps, shape.norm_offset)
