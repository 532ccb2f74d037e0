"""Tensors of which each rank holds a part (torch's `DTensor`), and whole ones."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(weight: Tensor) -> Tensor:
    """All of a tensor, gathered from the ranks; every one of them has to ask."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def placed_as(like: Tensor, given: Tensor) -> Tensor:
    """This rank's part of a tensor that every rank holds whole."""
    if not isinstance(like, DTensor):
        return given
    return distribute_tensor(given, like.device_mesh, like.placements, src_data_rank=None)
