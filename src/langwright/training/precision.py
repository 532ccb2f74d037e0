"""Which number format to compute in."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def compute_dtype(precision: str) -> torch.dtype:
    """The dtype for `auto`, `float32` or `bfloat16`."""
    if precision == "auto":
        return torch.bfloat16 if _has_bfloat16() else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def _has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; emulated it is slower than float32."""
    arm = platform.machine() in ("arm64", "aarch64")
    words = {"bf16"} if arm else {"avx512_bf16", "amx_bf16"}
    try:
        return bool(words & set(Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False
