"""Where to compute."""

from __future__ import annotations

import torch

from langwright.errors import Unsupported


def compute_device(device: str) -> torch.device:
    """The device that a `Device` means. Raises `Unsupported` for a GPU that is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise Unsupported("There is no CUDA device here.", remedy="Give device=cpu, or auto.")
    return torch.device(device)
