"""In which numbers to compute."""

from __future__ import annotations

import torch

from langwright.model.torch_kernels import has_bfloat16


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype for `auto` (bfloat16 where the device multiplies it itself; emulated it is slower
    than float32), `float32`, `bfloat16`, or `float8`, which is bfloat16 around its products."""
    if precision == "auto":
        native = device.type == "cuda" or has_bfloat16()
        return torch.bfloat16 if native else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float8": torch.bfloat16}[
        precision
    ]
