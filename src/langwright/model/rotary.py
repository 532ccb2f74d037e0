"""Rotary positions (Su et al. 2021), in Hugging Face's layout: halves, not neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
    first, second = x_BHTD.chunk(2, dim=-1)
    cos, sin = cos.to(x_BHTD.dtype), sin.to(x_BHTD.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
