"""Which models the kernels can run, and how their weights lie in memory."""

from __future__ import annotations

from importlib.util import find_spec
from typing import cast

import torch
from torch import nn

from langwright.inference.kernels import kinds
from langwright.model import Decoder
from langwright.model.attention import Attention
from langwright.model.decoder import Block
from langwright.model.mlp import FeedForward
from langwright.model.norm import RMSNorm
from langwright.model.quantised import Int4, Int8, QuantisedEmbedding, QuantisedLinear
from langwright.model.rotary import Rotary
from langwright.model.torch_kernels import int4_tile

TILE = 32
"""Outputs to a piece of work, or a multiple."""
GROUP = 32
ACTIVATIONS = ("silu", "gelu_tanh", "relu2")
_PARTS = (
    Decoder, Block, Attention, FeedForward, RMSNorm, Rotary, Int4, Int8, QuantisedLinear,
    QuantisedEmbedding, nn.Linear, nn.Embedding, nn.LayerNorm, nn.ModuleList,
)  # fmt: skip
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
Linear = nn.Linear | QuantisedLinear


def kind_of(linear: Linear) -> kinds.Kind | None:
    """How a matrix lies in memory; None for a way that there is no kernel for."""
    if isinstance(linear, QuantisedLinear):
        return _kind_of_matrix(linear)
    weight = linear.weight
    if not weight.is_contiguous():
        return None
    if weight.dtype == torch.bfloat16:
        return kinds.BFloat16(TILE)
    return kinds.Float32(TILE) if weight.dtype == torch.float32 else None


def _kind_of_matrix(linear: QuantisedLinear) -> kinds.Kind | None:
    matrix = linear.matrix
    if isinstance(matrix, Int8):
        num_groups, _, group = matrix.quants.shape
        if matrix.scales.dtype == torch.bfloat16 and num_groups == 1:
            return kinds.Rows8(TILE)
        if matrix.scales.dtype == torch.float16 and group == GROUP:
            return kinds.Groups8(TILE)
    if isinstance(matrix, Int4):
        tile, group = int4_tile(), matrix.shape[1] // len(matrix.scales)
        if tile is not None and matrix.shape[0] % tile == 0 and group == GROUP:
            return kinds.Nibbles4(tile)
    return None


def matrices(module: Decoder) -> list[Linear]:
    """Those of the layers."""
    linear = (nn.Linear, QuantisedLinear)
    return [one for one in module.layers.modules() if isinstance(one, linear)]


def why_not(module: nn.Module) -> str | None:
    """Why the kernels cannot run a model as it is now, in words for people; None when they can."""
    if find_spec("numba") is None:
        return "Numba is not installed (pip install 'langwright[fast]')"
    if type(module) is not Decoder:
        return f"it is a {type(module).__name__}"
    shape = module.shape
    if shape.num_experts:
        return "its layers have experts"
    for name, one in module.named_modules():
        if type(one) not in _PARTS:
            return f"'{name}' is a {type(one).__name__}"
        if any(getattr(one, hooks) for hooks in _HOOKS):
            return f"somebody looks at '{name or 'the model'}' with a hook"
    tensors = [*module.parameters(), *module.buffers()]
    if any(one.device.type != "cpu" for one in tensors):
        return f"it is on {next(iter(tensors)).device}"
    if shape.activation not in ACTIVATIONS:
        return f"its activation is {shape.activation}"
    widths = {
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_heads * head_dim": shape.num_heads * shape.head_dim,
    }
    for name, width in widths.items():
        if width % GROUP:
            return f"{name} is {width}, no multiple of {GROUP}"
    if shape.head_dim % 8:
        return f"head_dim is {shape.head_dim}, no multiple of 8"
    found = {kind_of(one) for one in matrices(module)}
    if None in found or kind_of(cast(Linear, module.lm_head)) is None:
        return "there is no kernel for the way its weights are held"
    if len(found) > 1:
        return "its layers hold their weights in several ways"
    return None
