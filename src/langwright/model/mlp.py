"""The feed-forward part of a block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.model.architecture import Architecture
from langwright.model.by_hand import by_hand
from langwright.model.linear import Linear, remakable

ACTIVATIONS = {
    "silu": F.silu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu2": lambda x: F.relu(x).square(),
}


class FeedForward(nn.Module):
    """down(act(gate(x)) * up(x)), SwiGLU or GeGLU (Shazeer 2020); without a gate
    down(act(up(x))). `size` is the width inside where it is not `intermediate_size`."""

    def __init__(self, shape: Architecture, size: int | None = None) -> None:
        super().__init__()
        width, inner, bias = shape.hidden_size, size or shape.intermediate_size, shape.mlp_bias
        self.act = ACTIVATIONS[shape.activation]
        self.gate_proj = Linear(width, inner, bias=bias) if shape.gated else None
        self.up_proj = Linear(width, inner, bias=bias)
        self.down_proj = Linear(inner, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate_proj is None:
            return self.down_proj(self.act(self.up_proj(x)))
        gate, up = self.gate_proj(x), self.up_proj(x)
        if self.act is F.silu and by_hand(x):
            return self.down_proj(remakable(_Gated.apply(gate, up), _gated, gate, up))
        return self.down_proj(self.act(gate) * up)


def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate).mul_(up)


class _Gated(torch.autograd.Function):
    """silu(gate) up, of which only gate and up are kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return _gated(gate, up)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(slope * up, gate), F.silu(gate).mul_(slope)
