"""Matrix products with weights of 8 and 4 bits: torch's own kernels for the CPU; and of 8-bit
floats, which is a GPU's (the CPU's is for tests).

They are private operators of torch, so this is the one file that names them. Each of those for the
CPU is tried on a small product before it is used; where it is not there, or gives another result,
the callers multiply with dequantised weights instead.

Legend: R rows of activations, N outputs, K inputs, G groups of inputs that share a scale.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

FEW_ROWS = 64
"""Up to so many rows the kernels are faster than dequantising first; `benchmarks/quantised.py`."""
FEW_ROWS_GROUPED = 8
"""The same for int8 whose scales are those of groups, each a product of its own."""

_TILES = (64, 32)
"""Outputs that torch packs together: with AVX-512, and without."""


def int8_product(x_RK: Tensor, quants_NK: Tensor, scales_N: Tensor) -> Tensor:
    """x (quants * scales)^T, [R, N] in x's type."""
    return torch._weight_int8pack_mm(x_RK, quants_NK, scales_N.to(x_RK.dtype))


def int4_product(x_RK: Tensor, packed: Tensor, scales_GN2: Tensor) -> Tensor:
    """x w^T with w = (quant - 8) * scale + offset, for weights that `pack_int4` packed; [R, N]."""
    group = x_RK.shape[1] // scales_GN2.shape[0]
    return torch._weight_int4pack_mm_for_cpu(x_RK, packed, group, scales_GN2.to(x_RK.dtype))


def float8_product(
    a_RK: Tensor,
    b_NK: Tensor,
    scale_a: Tensor,
    scale_b: Tensor,
    dtype: torch.dtype,
    fast: bool = False,
) -> Tensor:
    """(a * scale_a) (b * scale_b)^T of 8-bit floats with a scale each, [R, N] in `dtype`; all sizes
    are multiples of 16. `fast`: partial sums may be rounded further (Hopper)."""
    # The one form of cuBLAS: both lie in memory with K innermost.
    a, b = a_RK.contiguous(), b_NK.contiguous().t()
    return torch._scaled_mm(a, b, scale_a, scale_b, out_dtype=dtype, use_fast_accum=fast)


def pack_int4(quants_NK: Tensor) -> Tensor:
    """0 to 15, uint8, two to a byte: [N, K / 2]. N must be a multiple of 64."""
    tile = int4_tile()
    if tile is None:
        return quants_NK[:, ::2] | quants_NK[:, 1::2] << 4
    return torch._convert_weight_to_int4pack_for_cpu(quants_NK.int(), 1).view(torch.uint8)


def unpack_int4(packed: Tensor) -> Tensor:
    """What `pack_int4` packed, [N, K] uint8."""
    return _unpack(packed, int4_tile())


def _unpack(packed: Tensor, tile: int | None) -> Tensor:
    num_rows, half = packed.shape
    if tile is None:
        return torch.stack((packed & 15, packed >> 4), dim=-1).flatten(1)
    # Of each tile, for one input after the other, the first half of the outputs in the low bits
    # and the second in the high ones.
    low_TKD = packed.view(num_rows // tile, 2 * half, tile // 2)
    both = torch.cat((low_TKD & 15, low_TKD >> 4), dim=-1)
    return both.transpose(1, 2).reshape(num_rows, 2 * half)


@cache
def int4_tile() -> int | None:
    """How torch packs on this machine; None where its kernel is not to be had, or not as known."""
    numbers = torch.Generator().manual_seed(0)
    quants = torch.randint(0, 16, (128, 64), generator=numbers, dtype=torch.uint8)
    try:
        packed = torch._convert_weight_to_int4pack_for_cpu(quants.int(), 1).view(torch.uint8)
        fits = [tile for tile in _TILES if torch.equal(_unpack(packed, tile), quants)]
        if not fits:
            return None
        x, scales = torch.randn(3, 64, generator=numbers), torch.rand(2, 128, 2, generator=numbers)
        found = int4_product(x.bfloat16(), packed, scales.bfloat16())
    except (AttributeError, RuntimeError):
        return None
    scale_N2K = scales.repeat_interleave(32, dim=0).permute(1, 2, 0)
    weights = (quants.float() - 8) * scale_N2K[:, 0] + scale_N2K[:, 1]
    return fits[0] if _near(found, x @ weights.T) else None


@cache
def has_int8() -> bool:
    """Whether the kernel for 8 bits is there and right."""
    numbers = torch.Generator().manual_seed(0)
    quants = torch.randint(-127, 128, (64, 64), generator=numbers, dtype=torch.int8)
    x, scales = torch.randn(3, 64, generator=numbers), torch.rand(64, generator=numbers)
    try:
        found = int8_product(x.bfloat16(), quants, scales)
    except (AttributeError, RuntimeError):
        return False
    return _near(found, x @ (quants.float() * scales[:, None]).T)


@cache
def has_bfloat16() -> bool:
    """Whether the CPU has instructions for products in bfloat16; without, torch's are slow."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return True


def _near(found: Tensor, expected: Tensor) -> bool:
    return bool((found.float() - expected).abs().max() < 0.02 * expected.abs().max())
