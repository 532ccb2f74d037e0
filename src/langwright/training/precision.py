"""Where to compute, and in which numbers."""

from __future__ import annotations

import torch

from langwright.errors import Unsupported
from langwright.model.torch_kernels import has_bfloat16


def compute_device(device: str) -> torch.device:
    """The device for `auto` (a GPU where there is one), `cpu` or `cuda`."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise Unsupported("There is no CUDA device here.", remedy="Give device=cpu, or auto.")
    return torch.device(device)


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype for `auto` (bfloat16 where the device multiplies it itself; emulated it is slower
    than float32), `float32`, `bfloat16`, or `float8`, which is bfloat16 around its products."""
    if precision == "auto":
        native = device.type == "cuda" or has_bfloat16()
        return torch.bfloat16 if native else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float8": torch.bfloat16}[
        precision
    ]
