"""GGUF's simple blocks: 32 weights that share a scale. Layouts: `ggml-common.h` of llama.cpp.

Legend: N rows, K weights in a row, W bytes in a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 32
Q4_0, Q4_1, Q8_0 = 2, 3, 8
BLOCK_BYTES = {Q4_0: 18, Q4_1: 20, Q8_0: 34}
"""By GGML's number of the type: a scale in float16; of Q4_1 a minimum as well; the quants."""


@dataclass(frozen=True)
class Blocks:
    """A matrix [N, K] as the file holds it: `raw_NW` bytes, of the type `kind`."""

    raw_NW: Tensor
    kind: int

    @property
    def shape(self) -> tuple[int, int]:
        num_rows, width = self.raw_NW.shape
        return num_rows, width // BLOCK_BYTES[self.kind] * BLOCK

    def scales(self) -> Tensor:
        """The scale of each block and, of Q4_1, the minimum: [N, K / 32, 1 or 2], float32."""
        parts = self._parts()
        count = 4 if self.kind == Q4_1 else 2
        return parts[..., :count].contiguous().view(torch.float16).float()

    def quants(self) -> Tensor:
        """The whole numbers, [N, K]: -128 to 127 as int8, of the 4-bit types 0 to 15 as uint8."""
        parts = self._parts()
        if self.kind == Q8_0:
            return parts[..., 2:].reshape(self.shape).view(torch.int8)
        nibbles = parts[..., -16:]
        return torch.cat((nibbles & 15, nibbles >> 4), dim=-1).view(self.shape)

    def dequantised(self) -> Tensor:
        """The weights, [N, K] float32: scale * q, scale * (q - 8), or scale * q + minimum."""
        scales, parts = self.scales(), self._parts()
        values = torch.empty(*parts.shape[:2], BLOCK)
        # Copied, then multiplied: a product of two types is several times slower.
        if self.kind == Q8_0:
            values.copy_(parts[..., 2:].view(torch.int8))
        else:
            nibbles = parts[..., -16:].contiguous()
            values[..., :16], values[..., 16:] = nibbles & 15, nibbles >> 4
        if self.kind == Q4_0:
            values -= 8
        values *= scales[..., :1]
        if self.kind == Q4_1:
            values += scales[..., 1:]
        return values.view(self.shape)

    def _parts(self) -> Tensor:
        return self.raw_NW.unflatten(1, (-1, BLOCK_BYTES[self.kind]))
