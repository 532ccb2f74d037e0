"""One order for all sums, so that a GPU gives the same bits again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_MEMORY: Any = torch.utils.deterministic


@contextmanager
def one_order(wanted: bool) -> Iterator[None]:
    """Within, where it is `wanted`, torch takes only kernels that add up in a fixed order (going
    backward, attention and the table of tokens have another one each time by default)."""
    if not wanted:
        yield
        return
    # Of several streams cuBLAS asks for it, and torch of all; it is read at the first product.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), _MEMORY.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    _MEMORY.fill_uninitialized_memory = False  # all that is read here was written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        _MEMORY.fill_uninitialized_memory = before[1]
