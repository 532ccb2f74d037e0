"""Attention inside the documents of packed rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from langwright.model import attention
from langwright.model.attention import Documents, attend, attend_apart, window_mask

HEADS, WIDTH = 4, 16
LENGTHS = (5, 1, 10, 16, 3, 3, 3, 7)
"""Of three rows of sixteen."""


def drawn(device: str = "cpu", dtype: torch.dtype = torch.float32) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    size = (3, HEADS, 16, WIDTH)
    parts = [torch.randn(size, generator=draw) for _ in range(3)]
    return [part.to(device, dtype).requires_grad_() for part in parts]


def one_by_one(q: Tensor, k: Tensor, v: Tensor, scale: float | None, window: int | None) -> Tensor:
    """The textbook's formula for each document by itself."""
    rows = [x.transpose(1, 2).flatten(0, 1).split(LENGTHS) for x in (q, k, v)]
    mixed = []
    for parts in zip(*rows, strict=True):
        one, length = [part.transpose(0, 1) for part in parts], len(parts[0])
        mask = window_mask(length, window or length, q.device)
        if scale is not None:  # which the formula divides by the root of the width
            one[0] = one[0] * (scale * WIDTH**0.5)
        mixed.append(attend(one[0], one[1], one[2], mask).transpose(0, 1))
    return torch.cat(mixed).unflatten(0, (3, 16)).transpose(1, 2)


def test_bounds_and_positions_are_those_of_the_documents() -> None:
    documents = Documents(LENGTHS)
    bounds, positions = documents.bounds.tolist(), documents.positions().tolist()
    assert bounds[0] == 0
    assert bounds[-1] == 48 == len(positions)
    assert documents.bounds.dtype == torch.int32  # which the kernel asks for
    for start, end, length in zip(bounds[:-1], bounds[1:], LENGTHS, strict=True):
        assert positions[start:end] == list(range(length))


CASES = [(None, None), (0.5, None), (None, 4), (None, 1), (None, 16), (0.3, 2)]


@pytest.mark.parametrize(("scale", "window"), CASES)
def test_packed_documents_attend_as_each_by_itself(scale: float | None, window: int | None) -> None:
    q, k, v = drawn()
    found = attend_apart(q, k, v, Documents(LENGTHS), scale, window)
    torch.testing.assert_close(found, one_by_one(q, k, v, scale, window))


@pytest.mark.gpu
@pytest.mark.parametrize(("scale", "window"), CASES)
def test_one_call_for_all_documents_on_a_gpu(scale: float | None, window: int | None) -> None:
    """And its gradients, to the rounding of bfloat16."""
    parts = drawn("cuda", torch.bfloat16)
    if not attention._in_one_call(parts[0]):
        pytest.skip("this torch or this GPU has no such kernel")
    documents = Documents(LENGTHS)
    found = attend_apart(*parts, documents, scale, window)
    plain = [part.detach().float().requires_grad_() for part in parts]
    expected = attend_apart(*plain, documents, scale, window)
    expected_grads = torch.autograd.grad(expected.square().sum(), plain)
    grads = torch.autograd.grad(found.float().square().sum(), parts)
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)
    for grad, other in zip(grads, expected_grads, strict=True):
        assert (grad.float() - other).norm() < 0.01 * other.norm() + 1e-3
