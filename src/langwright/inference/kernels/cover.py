"""Which models the kernels can run, and how their weights lie in memory."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import nn

from langwright.inference.kernels.kinds import Kind
from langwright.model import Adapters, Decoder, linear
from langwright.model.attention import Attention
from langwright.model.decoder import Block
from langwright.model.lora import LoRAPart
from langwright.model.mlp import FeedForward
from langwright.model.norm import RMSNorm
from langwright.model.quantised import Int4, Int8, QuantisedEmbedding, QuantisedLinear
from langwright.model.rotary import Rotary
from langwright.model.torch_kernels import int4_tile

GROUP = 32
ACTIVATIONS = ("silu", "gelu_tanh", "relu2")
_PARTS = (
    Decoder, Block, Attention, FeedForward, RMSNorm, Rotary, Int4, Int8, QuantisedLinear,
    QuantisedEmbedding, linear.Linear, nn.Linear, nn.Embedding, nn.LayerNorm, nn.ModuleList,
)  # fmt: skip
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
Linear = nn.Linear | QuantisedLinear


def kind_of(linear: Linear) -> Kind | None:
    """How a matrix lies in memory; None for a way that there is no kernel for."""
    if isinstance(linear, QuantisedLinear):
        return _kind_of_matrix(linear)
    weight = linear.weight
    if not weight.is_contiguous():
        return None
    if weight.dtype == torch.bfloat16:
        return Kind.BFLOAT16
    return Kind.FLOAT32 if weight.dtype == torch.float32 else None


def _kind_of_matrix(linear: QuantisedLinear) -> Kind | None:
    matrix = linear.matrix
    if isinstance(matrix, Int8):
        num_groups, _, group = matrix.quants.shape
        if matrix.scales.dtype == torch.bfloat16 and num_groups == 1:
            return Kind.ROWS8
        if matrix.scales.dtype == torch.float16 and group == GROUP:
            return Kind.GROUPS8
    if isinstance(matrix, Int4):
        tile, group = int4_tile(), matrix.shape[1] // len(matrix.scales)
        if tile is not None and matrix.shape[0] % tile == 0 and group == GROUP:
            return Kind.NIBBLES4
    return None


def matrices(module: Decoder) -> list[Linear]:
    """All that a token is multiplied with."""
    linear = (nn.Linear, QuantisedLinear)
    return [one for one in module.modules() if isinstance(one, linear)]


def tile_of(kind: Kind) -> int:
    """Outputs that are not parted among threads."""
    tile = int4_tile() if kind is Kind.NIBBLES4 else None
    return 32 if tile is None else tile


def address(kind: Kind, *, wide: bool = False) -> int:
    """Of a kind's product, or of that with many rows, compiled when it is first asked for."""
    from langwright.inference.kernels.products import product

    return int(product(kind, wide).address)


def why_not(module: nn.Module, adapters: Adapters | None = None) -> str | None:
    """Why the kernels cannot run a model as it is now, in words for people; None when they can.
    `adapters` are those on it whose rows somebody else computes."""
    if find_spec("numba") is None:
        return "Numba is not installed (pip install 'langwright[fast]')"
    if type(module) is not Decoder:
        return f"it is a {type(module).__name__}"
    shape = module.shape
    if shape.num_experts:
        return "its layers have experts"
    apart = set() if adapters is None else adapters.modules()
    if any(isinstance(one, LoRAPart) and one not in apart for one in module.modules()):
        return "adapters hang on it"
    if any(kind_of(one) is None for one in matrices(module)):
        return "there is no kernel for the way its weights are held"
    for name, one in module.named_modules():
        if one in apart:
            continue
        if type(one) not in _PARTS:
            return f"'{name}' is a {type(one).__name__}"
        hooked = any(getattr(one, hooks) for hooks in _HOOKS)
        if hooked and not (adapters is not None and adapters.is_target(one)):
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
    return None
