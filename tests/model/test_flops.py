"""What a token's training takes, and what a GPU can do."""

from __future__ import annotations

import pytest

from langwright.model.flops import peak_flops, training_flops


def test_published_counts() -> None:
    """PaLM 540B (Chowdhery et al. 2022, appendix B and table 1): 118 layers, 48 heads of 256, at
    2,048 tokens; at 238.3 thousand tokens a second 6144 TPU v4 of 275 TFLOP/s are used to 45.7%
    without attention, 46.2% with it."""
    plain = training_flops(540_350_000_000, 0, 0)
    whole = training_flops(540_350_000_000, 118 * 2048, 48 * 256)
    peak = 6144 * 275e12
    assert 238_300 * plain / peak == pytest.approx(0.457, abs=0.001)
    assert 238_300 * whole / peak == pytest.approx(0.462, abs=0.001)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("NVIDIA L40", None),
        ("Tesla T4", None),
    ],
)
def test_peaks_are_those_of_the_data_sheets(name: str, peak: float | None) -> None:
    """Of the whole device and no other of a like name."""
    assert peak_flops(name) == peak
