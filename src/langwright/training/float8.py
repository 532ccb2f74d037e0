"""Products in 8-bit floats: what the blocks multiply with, forward and backward.

Two formats (Micikevicius et al. 2022, "FP8 formats for deep learning"): e4m3 for activations and
weights, and e5m2, with more range and less precision, for gradients. Each tensor is multiplied with
one scale, taken from its largest value at each product, so that this value becomes the format's
largest.

Legend: R rows (tokens), K inputs, N outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.errors import BadSettings, Unsupported
from langwright.model import Decoder
from langwright.model.linear import Linear
from langwright.model.torch_kernels import float8_product
from langwright.progress import say

ACTIVATIONS, GRADIENTS = torch.float8_e4m3fn, torch.float8_e5m2
TILE = 16
"""What inputs and outputs must be multiples of, by cuBLAS; rows are filled up with zeros."""


class Float8Linear(Linear):
    """A linear layer whose three products are in 8 bits; its weight and bias stay as they are."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        y = _Product.apply(F.pad(rows, (0, 0, 0, -len(rows) % TILE)), self.weight)[: len(rows)]
        y = y if self.bias is None else y + self.bias
        return y.unflatten(0, x.shape[:-1])


def use_float8(module: nn.Module, device: torch.device, tensor_parallel: int = 1) -> None:
    """Have the matrices of a decoder's blocks multiply in 8 bits, and say how many do; those whose
    sizes are no multiples of `TILE` stay, as do embedding, head and an expert's router.

    Raises `Unsupported` where the device has no such products, or the module is no decoder;
    `BadSettings` where no matrix can.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        raise Unsupported(
            "precision=float8 needs a GPU that multiplies 8-bit floats (compute capability 8.9: "
            "Ada, Hopper or newer).",
            remedy="Give precision=bfloat16, or auto.",
        )
    if tensor_parallel > 1:
        raise BadSettings(
            "precision=float8 does not go with tensor_parallel.",
            remedy="Give tensor_parallel=1, or precision=bfloat16.",
        )
    if not isinstance(module, Decoder):
        raise Unsupported("precision=float8 trains decoders only.", remedy="Give bfloat16.")
    done, left = convert(module)
    if not done:
        raise BadSettings(
            f"No matrix of this model has sizes that are multiples of {TILE}.",
            remedy="Give precision=bfloat16, or other sizes.",
        )
    rest = f"; {left} stay in bfloat16, whose sizes are no multiples of {TILE}" if left else ""
    say(f"{done} matrices of the blocks multiply in 8 bits{rest}.")


def convert(module: Decoder) -> tuple[int, int]:
    """Change the linear layers of the blocks; how many, and how many cannot be."""
    layers = [part for part in module.layers.modules() if isinstance(part, Linear)]
    fit = [one for one in layers if one.in_features % TILE == one.out_features % TILE == 0]
    for one in fit:
        one.__class__ = Float8Linear  # parameters and their names stay
    return len(fit), len(layers) - len(fit)


def scaled(x: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """`x` in 8 bits, and what it must be multiplied with to be `x` again, a scalar. What is no
    finite number makes all of it none."""
    scale = torch.finfo(kind).max / x.abs().amax().float().clamp(min=1e-12)
    return (x.float() * scale).to(kind), scale.reciprocal()


class _Product(torch.autograd.Function):
    """x w^T of [R, K] and [N, K], in x's type."""

    @staticmethod
    def forward(ctx: Any, x_RK: Tensor, weight_NK: Tensor) -> Tensor:
        x8, x_back = scaled(x_RK, ACTIVATIONS)
        w8, w_back = scaled(weight_NK, ACTIVATIONS)
        # The weight and not its 8 bits: FSDP gives its memory back in between.
        ctx.save_for_backward(x8, x_back, weight_NK)
        return float8_product(x8, w8, x_back, w_back, x_RK.dtype, fast=True)

    @staticmethod
    def backward(ctx: Any, grad_RN: Tensor) -> tuple[Tensor, Tensor]:
        x8, x_back, weight_NK = ctx.saved_tensors
        w8, w_back = scaled(weight_NK, ACTIVATIONS)
        g8, g_back = scaled(grad_RN, GRADIENTS)
        grad_x = float8_product(g8, w8.T, g_back, w_back, grad_RN.dtype)
        grad_w = float8_product(g8.T, x8.T, g_back, x_back, grad_RN.dtype)
        return grad_x, grad_w
