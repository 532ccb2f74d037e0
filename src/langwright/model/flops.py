"""The arithmetic of training a token, and how much of it a device can do."""

from __future__ import annotations

import re


def training_flops(matrices: int, seen: int, width: int) -> int:
    """FLOPs of one token, forward and backward (PaLM, appendix B): 6N + 12 S d. N are the values of
    the matrices that it is multiplied with, the head's among them, the table's not; S the positions
    that it attends to, over all layers, as if nothing were masked; d heads times their width."""
    return 6 * matrices + 12 * seen * width


_PEAKS = (
    (r"B200", 2250e12),  # Blackwell architecture technical brief: HGX B200, an eighth of it
    (r"H200|GH200 .*|H100 80GB HBM3", 989e12),  # H200, GH200 and H100 (SXM) data sheets
    (r"H100 NVL|H200 NVL", 835e12),  # H100 and H200 data sheets, NVL
    (r"H100 PCIe", 756e12),  # H100 data sheet, PCIe
    (r"A100-(SXM4|PCIE)-\d+GB|A100 80GB PCIe", 312e12),  # A100 data sheet
    (r"L40S", 362e12),  # L40S data sheet
    (r"L4", 121e12),  # L4 data sheet
    (r"A10", 125e12),  # A10 data sheet
    (r"GeForce RTX 4090", 165.2e12),  # Ada architecture white paper, appendix A
    (r"GeForce RTX 3090", 71e12),  # GA102 architecture white paper
)
"""By the name that CUDA gives the device, less the maker's; products without sparsity."""


def peak_flops(name: str) -> float | None:
    """FLOP/s of a GPU's dense products in bfloat16 with sums in float32, by NVIDIA's data sheets;
    None for a device that is not in the table, as part of a GPU (MIG), or any CPU."""
    plain = name.removeprefix("NVIDIA ").strip()
    return next((peak for known, peak in _PEAKS if re.fullmatch(known, plain)), None)
