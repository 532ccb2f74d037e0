"""Products in bfloat16 by way of float32, where the CPU has no instructions for them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from langwright.model import linear


@pytest.mark.parametrize("stretch", [2**24, 100])
def test_the_detour_is_the_same_product(monkeypatch: pytest.MonkeyPatch, stretch: int) -> None:
    monkeypatch.setattr(linear, "has_bfloat16", lambda: False)
    monkeypatch.setattr(linear, "_STRETCH", stretch)
    numbers = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(*size, generator=numbers).bfloat16().requires_grad_()
        for size in ((2, 20, 48), (33, 48), (33,))
    )
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda one: kept.append(one) or one, lambda one: one
    ):
        found = linear.product(x, weight, bias)
    assert {one.dtype for one in kept} == {torch.bfloat16}  # a wide copy would double the memory
    exact = F.linear(x.double(), weight.double(), bias.double())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, exact.bfloat16(), atol=0, rtol=2**-7)
    slope = torch.randn(found.shape, generator=numbers).bfloat16()
    grads = torch.autograd.grad(found, (x, weight, bias), slope)
    wanted = torch.autograd.grad(exact, (x, weight, bias), slope.double())
    for grad, expected in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, expected, atol=2e-2, rtol=2**-6)


def test_few_rows_and_other_types_go_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "has_bfloat16", lambda: False)
    layer = linear.Linear(48, 33)
    x = torch.randn(20, 48)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    layer.bfloat16()
    few = x[:3].bfloat16()
    assert torch.equal(layer(few), F.linear(few, layer.weight, layer.bias))
