"""Derivatives written out by hand are autograd's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from langwright.model.architecture import Architecture
from langwright.model.mlp import FeedForward
from langwright.model.norm import RMSNorm
from langwright.model.rotary import Rotary, rotate

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_layers": 1,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 8,
    "context_length": 16,
}


def gradients(value: torch.Tensor, *of: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Of a random weighted sum of `value`."""
    weights = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
    return torch.autograd.grad((value.double() * weights).sum(), of)


def alike(ours: tuple[torch.Tensor, ...], theirs: tuple[torch.Tensor, ...]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("size", [(3, 5, 32), (2, 3, 4, 32)])
def test_norm(size: tuple[int, ...], offset: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(size, requires_grad=True)
    norm = RMSNorm(32, 1e-6, offset)
    with torch.no_grad():
        norm.weight += 0.3 * torch.randn(32)
    plain = F.rms_norm(x, (32,), norm.weight + offset, 1e-6)
    torch.testing.assert_close(norm(x), plain)
    alike(gradients(norm(x), x, norm.weight), gradients(plain, x, norm.weight))


def test_norm_of_frozen_weights_and_of_an_input_without_gradient() -> None:
    x, norm = torch.randn(4, 32, requires_grad=True), RMSNorm(32, 1e-6)
    norm.weight.requires_grad_(False)
    alike(gradients(norm(x), x), gradients(F.rms_norm(x, (32,), norm.weight, 1e-6), x))
    norm.weight.requires_grad_(True)
    still = x.detach()
    plain = F.rms_norm(still, (32,), norm.weight, 1e-6)
    alike(gradients(norm(still), norm.weight), gradients(plain, norm.weight))


def test_turn() -> None:
    """The other way round it is taken back, and the gradient is that of the formula."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 8, requires_grad=True)
    cos, sin = Rotary(8, 10_000.0)(torch.arange(6)[None] + torch.tensor([[0], [3]]))
    turned = rotate(x, cos, sin)
    first, second = x.chunk(2, dim=-1)
    plain = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    torch.testing.assert_close(turned, plain)
    torch.testing.assert_close(rotate(turned, cos, -sin), x)
    alike(gradients(turned, x), gradients(plain, x))
    with torch.no_grad():
        torch.testing.assert_close(rotate(x, cos, sin), plain)


def test_gate() -> None:
    torch.manual_seed(0)
    layer = FeedForward(Architecture.build(SHAPE))
    x = torch.randn(3, 5, 32, requires_grad=True)
    assert layer.gate_proj is not None
    plain = layer.down_proj(F.silu(layer.gate_proj(x)) * layer.up_proj(x))
    torch.testing.assert_close(layer(x), plain)
    weights = tuple(layer.parameters())
    alike(gradients(layer(x), x, *weights), gradients(plain, x, *weights))


def test_less_is_kept() -> None:
    """Of the gate two tensors instead of three, of the norm one instead of its steps."""

    def kept(module: nn.Module, x: torch.Tensor) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            module(x).sum()
        return sum(sizes.values())

    x = torch.randn(512, 32, requires_grad=True)
    places = 4 * 512
    assert kept(RMSNorm(32, 1e-6), x) <= places * (32 + 2)
    weights = 4 * 3 * 32 * 48
    assert kept(FeedForward(Architecture.build(SHAPE)), x) <= places * (32 + 3 * 48) + weights
