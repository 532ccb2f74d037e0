"""Rotary positions (Su et al. 2021), in Hugging Face's layout: halves, not neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from langwright.model.by_hand import by_hand
from langwright.model.rope_scaling import RopeScaling


class Rotary(nn.Module):
    """cos and sin for a position: angles p * theta^(-2i/head_dim), kept in float32."""

    frequencies: Tensor

    def __init__(self, head_dim: int, theta: float, scaling: RopeScaling | None = None) -> None:
        super().__init__()
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
        # float32 from the start, as transformers has it: the products with positions must agree.
        frequencies = (1.0 / theta**exponents).float()
        if scaling is not None:
            frequencies = scaling.scale(frequencies, theta)
        self.magnitude = 1.0 if scaling is None else scaling.magnitude
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin, each [B, 1, T, head_dim / 2] in float32."""
        angles = positions_BT[:, None, :, None].float() * self.frequencies.float()
        cos, sin = angles.cos(), angles.sin()
        return (cos, sin) if self.magnitude == 1.0 else (cos * self.magnitude, sin * self.magnitude)


def rotate(x_BHTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i + D/2}) by its angle; the result has x's type."""
    cos, sin = cos.to(x_BHTD.dtype), sin.to(x_BHTD.dtype)
    if by_hand(x_BHTD):
        # As it lies in memory, a token's heads side by side.
        cos_BT1D = torch.cat((cos, cos), dim=-1).transpose(1, 2)
        sin_BT1D = torch.cat((-sin, sin), dim=-1).transpose(1, 2)
        turned: Tensor = _Turned.apply(x_BHTD.transpose(1, 2), cos_BT1D, sin_BT1D)
        return turned.transpose(1, 2)
    first, second = x_BHTD.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class _Turned(torch.autograd.Function):
    """x cos + swap(x) sin, where `swap` changes the halves and sin is negative in the first one.
    A turn the other way takes the gradient back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(slope, cos, sin, -1), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor, way: int) -> Tensor:
    turned, half = x * cos, x.shape[-1] // 2
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=way)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:], value=way)
    return turned
