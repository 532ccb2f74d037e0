"""Weights of 8 and 4 bits, for the matrices of a decoder.

A matrix [N, K] is held as whole numbers; a group of inputs of each row shares a scale. Activations
are bfloat16. Training leaves them as they are: gradients pass through to what comes before.

Legend: R rows of activations, N outputs, K inputs, G groups, g inputs in a group.
"""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.backend import Dtype
from langwright.errors import BadInput, Unsupported, suggest
from langwright.model import linear
from langwright.model.blocks import BLOCK, Q4_0, Q8_0, Blocks
from langwright.model.torch_kernels import (
    FEW_ROWS,
    FEW_ROWS_GROUPED,
    has_int8,
    int4_product,
    int4_tile,
    int8_product,
    pack_int4,
    unpack_int4,
)

DTYPES: tuple[str, ...] = get_args(Dtype)

_STRETCH = 2**22
"""Values of a matrix that are dequantised at one time."""
_TILE = 64

NF4 = torch.tensor(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
     -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
     0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
     0.7229568362236023, 1.0]
)  # fmt: skip
"""The 16 values of NormalFloat (Dettmers et al. 2023, appendix E): quantiles of the normal."""
NF4_GROUP = 64


class Matrix(nn.Module):
    """Weights [N, K], less than 16 bits each."""

    shape: tuple[int, int]
    scales: Tensor

    def rows(self, first: int, last: int) -> Tensor:
        """Rows `first` to `last` (exclusive) in float32, [last - first, K]."""
        raise NotImplementedError

    def looked_up(self, ids: Tensor) -> Tensor:
        """The rows of these ids, [..., K] in bfloat16."""
        raise NotImplementedError

    def few(self, x_RK: Tensor) -> Tensor | None:
        """x w^T by a kernel, or None where there is none."""
        return None

    @property
    def num_bytes(self) -> int:
        """What they take, scales included."""
        return sum(one.nbytes for one in self.buffers())

    def dequantised(self) -> Tensor:
        """All rows in float32."""
        return self.rows(0, self.shape[0])

    def product(self, x: Tensor) -> Tensor:
        """x w^T in x's type, [..., N]."""
        x_RK = x.reshape(-1, x.shape[-1])
        found = self.few(x_RK) if len(x_RK) <= FEW_ROWS and x.device.type == "cpu" else None
        if found is None:
            step = max(1, _STRETCH // self.shape[1])
            parts = [
                linear.product(x_RK, self.rows(at, min(at + step, self.shape[0])))
                for at in range(0, self.shape[0], step)
            ]
            found = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        return found.view(*x.shape[:-1], self.shape[0])


class Int8(Matrix):
    """w = quant * scale, quants -128 to 127, [G, N, g]; scales [G, N]."""

    quants: Tensor

    def __init__(self, quants_GNg: Tensor, scales_GN: Tensor) -> None:
        super().__init__()
        self.shape = quants_GNg.shape[1], quants_GNg.shape[0] * quants_GNg.shape[2]
        self.register_buffer("quants", quants_GNg.contiguous())
        self.register_buffer("scales", scales_GN.contiguous())

    @classmethod
    def of(cls, weight_NK: Tensor) -> Int8:
        """One scale to a row, by its largest value."""
        scales_N = (weight_NK.float().abs().amax(dim=1).clamp(min=1e-12) / 127).bfloat16()
        # By the scales as they are kept; what they were rounded down by is cut off.
        quants = (weight_NK.float() / scales_N.float()[:, None]).round_().clamp_(-127, 127)
        return cls(quants.to(torch.int8)[None], scales_N[None])

    def rows(self, first: int, last: int) -> Tensor:
        quants_GNg, scales_GN = self.quants[:, first:last], self.scales[:, first:last]
        return (quants_GNg.float() * scales_GN.float()[..., None]).transpose(0, 1).flatten(1)

    def looked_up(self, ids: Tensor) -> Tensor:
        flat = ids.reshape(-1)
        # Not by brackets: those wake torch's other threads for a few rows.
        quants, scales = self.quants.index_select(1, flat), self.scales.index_select(1, flat)
        found = quants.float() * scales[..., None].float()
        return found.transpose(0, 1).reshape(*ids.shape, -1).bfloat16()

    def few(self, x_RK: Tensor) -> Tensor | None:
        if not has_int8() or (len(self.quants) > 1 and len(x_RK) > FEW_ROWS_GROUPED):
            return None
        groups = x_RK.unflatten(1, (len(self.quants), -1)).transpose(0, 1).contiguous()
        parts = [int8_product(*one) for one in zip(groups, self.quants, self.scales, strict=True)]
        if len(parts) == 1:
            return parts[0]
        return torch.stack(parts).sum(dim=0, dtype=torch.float32).to(x_RK.dtype)


class Int4(Matrix):
    """w = (quant - 8) * scale + offset, quants 0 to 15; [G, N, 2] scales and offsets."""

    packed: Tensor

    def __init__(self, quants_NK: Tensor, scales_GN2: Tensor) -> None:
        super().__init__()
        self.shape = quants_NK.shape[0], quants_NK.shape[1]
        more = -len(quants_NK) % _TILE  # the kernel takes whole tiles of outputs
        self.register_buffer("packed", pack_int4(F.pad(quants_NK, (0, 0, 0, more))))
        scales = F.pad(scales_GN2, (0, 0, 0, more)).bfloat16()
        self.register_buffer("scales", scales.contiguous())

    @classmethod
    def of(cls, weight_NK: Tensor, group: int = BLOCK) -> Int4:
        """A scale and an offset to a group, by its least and largest value."""
        parts = weight_NK.float().unflatten(1, (-1, group))
        least, most = parts.aminmax(dim=-1)
        # Rounded first, so that the quants are chosen for the scales that are kept.
        scales = ((most - least).clamp(min=1e-12) / 15).bfloat16().float()
        offsets = (least + 8 * scales).bfloat16().float()
        quants = (parts - offsets[..., None]).div_(scales[..., None]).round_().add_(8)
        quants = quants.clamp_(0, 15).to(torch.uint8).flatten(1)
        return cls(quants, torch.stack((scales, offsets), dim=-1).transpose(0, 1))

    def rows(self, first: int, last: int) -> Tensor:
        start, end = first // _TILE * _TILE, -(-last // _TILE) * _TILE
        quants = unpack_int4(self.packed[start:end])[first - start : last - start]
        scale_NG2 = self.scales[:, first:last].transpose(0, 1).float()
        parts = quants.unflatten(1, (scale_NG2.shape[1], -1)).float().sub_(8)
        return parts.mul_(scale_NG2[..., :1]).add_(scale_NG2[..., 1:]).flatten(1)

    def few(self, x_RK: Tensor) -> Tensor | None:
        if int4_tile() is None:
            return None
        return int4_product(x_RK, self.packed, self.scales)[:, : self.shape[0]]


class NormalFloat4(Matrix):
    """w = NF4[code] * scale; codes two to a byte [N, K / 2], scales [N, G] in float32: the base of
    QLoRA (Dettmers et al. 2023), without its second quantisation of the scales."""

    packed: Tensor

    def __init__(self, weight_NK: Tensor) -> None:
        super().__init__()
        self.shape = weight_NK.shape[0], weight_NK.shape[1]
        group = min(NF4_GROUP, self.shape[1])
        parts = weight_NK.float().unflatten(1, (-1, group))
        scales = parts.abs().amax(dim=-1).clamp(min=1e-12)
        edges = (NF4[1:] + NF4[:-1]) / 2
        codes = torch.bucketize((parts / scales[..., None]).flatten(1), edges).to(torch.uint8)
        self.register_buffer("packed", codes[:, ::2] | codes[:, 1::2] << 4)
        self.register_buffer("scales", scales)

    def rows(self, first: int, last: int) -> Tensor:
        packed, scales = self.packed[first:last], self.scales[first:last]
        values = NF4.to(packed.device)[torch.stack((packed & 15, packed >> 4), -1).int()]
        return (values.flatten(1).unflatten(1, (scales.shape[1], -1)) * scales[..., None]).flatten(
            1
        )


def of_blocks(blocks: Blocks) -> Matrix:
    """The same weights as a GGUF file's blocks; of the 4-bit types the scales in bfloat16."""
    scales_NG = blocks.scales()
    if blocks.kind == Q8_0:
        quants = blocks.quants().unflatten(1, (-1, BLOCK)).transpose(0, 1)
        return Int8(quants, scales_NG[..., 0].T.half())
    if blocks.kind == Q4_0:
        scale, offset = scales_NG[..., 0], torch.zeros_like(scales_NG[..., 0])
    else:  # Q4_1 counts from its minimum, the kernel from the middle
        scale, offset = scales_NG[..., 0], scales_NG[..., 1] + 8 * scales_NG[..., 0]
    return Int4(blocks.quants(), torch.stack((scale, offset), dim=-1).transpose(0, 1))


class _Product(torch.autograd.Function):
    """x w^T; keeps the weights as they are for the way back instead of a dequantised copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Matrix) -> Tensor:
        ctx.matrix = matrix
        return matrix.product(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        return grad @ ctx.matrix.dequantised().to(grad.dtype), None


class QuantisedLinear(nn.Module):
    """In place of `nn.Linear`; `weight` is a dequantised copy."""

    def __init__(self, matrix: Matrix, bias: nn.Parameter | None = None) -> None:
        super().__init__()
        self.matrix = matrix
        self.bias = bias
        self.out_features, self.in_features = matrix.shape

    @property
    def weight(self) -> Tensor:
        return self.matrix.dequantised()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Product.apply(x, self.matrix)
        return y if self.bias is None else y + self.bias


class QuantisedEmbedding(nn.Module):
    """In place of `nn.Embedding`; `weight` is a dequantised copy."""

    def __init__(self, matrix: Matrix) -> None:
        super().__init__()
        self.matrix = matrix

    @property
    def weight(self) -> Tensor:
        return self.matrix.dequantised()

    def forward(self, ids: Tensor) -> Tensor:
        return self.matrix.looked_up(ids)


Held = Tensor | Matrix
"""What a module holds for a tensor of a file."""


def check_dtype(dtype: str) -> None:
    """Raises `BadInput` for a way of holding weights that there is not."""
    if dtype not in DTYPES:
        raise BadInput(f"There is no dtype '{dtype}'.", remedy=suggest(dtype, DTYPES))


def held(name: str, values: Tensor, dtype: str) -> Held:
    """The tensor `name` (ours) as a model of `dtype` holds it.

    Norms, biases, positions and routers of a quantised model are bfloat16; its tables take 8 bits,
    which they suffer least from, or with nf4 bfloat16. So does a row that makes no whole groups.
    """
    if dtype == "float32":
        return values.float()
    spared = name == "embed_positions.weight" or name.endswith("mlp.gate.weight")
    if dtype == "bfloat16" or values.dim() != 2 or spared:
        return values.to(torch.bfloat16)
    table, width = name in ("embed_tokens.weight", "lm_head.weight"), values.shape[1]
    if dtype == "nf4":
        whole = width % NF4_GROUP == 0
        return values.to(torch.bfloat16) if table or not whole else NormalFloat4(values)
    if dtype == "int4" and not table and width % BLOCK == 0:
        return Int4.of(values)
    return Int8.of(values)


def install(module: nn.Module, matrices: dict[str, Matrix]) -> None:
    """Put matrices in the place of the parameters of these names."""
    for name, matrix in matrices.items():
        path = name.removesuffix(".weight")
        old = module.get_submodule(path)
        if isinstance(old, nn.Embedding):
            module.set_submodule(path, QuantisedEmbedding(matrix))
        else:
            assert isinstance(old, nn.Linear)
            module.set_submodule(path, QuantisedLinear(matrix, old.bias))


def is_quantised(module: nn.Module) -> bool:
    return any(isinstance(one, Matrix) for one in module.modules())


def whole_weights(module: nn.Module) -> dict[str, Tensor]:
    """All weights by name. Raises `Unsupported` where some are quantised: they would be missing."""
    if is_quantised(module):
        raise Unsupported(
            "The model's weights are quantised in memory, which is not what it is saved from.",
            remedy="Load it with dtype float32.",
        )
    return {name: weight.detach() for name, weight in module.named_parameters()}
