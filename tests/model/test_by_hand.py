"""Derivatives written out by hand are autograd's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from langwright.model import linear
from langwright.model.architecture import Architecture
from langwright.model.decoder import Decoder
from langwright.model.lora import Adapters, LoRASettings
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


def kept(make: Callable[[], torch.Tensor]) -> int:
    """Bytes of what is kept for the backward pass of `make()`."""
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = make()
    assert value.requires_grad
    return sum(sizes.values())


def test_less_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the gate two tensors instead of three, of the norm one instead of its steps; where they
    are large, not even what comes of the two, which the next product is about."""
    x = torch.randn(512, 32, requires_grad=True)
    places = 4 * 512
    norm, layer = RMSNorm(32, 1e-6), FeedForward(Architecture.build(SHAPE))
    both = nn.Sequential(norm, layer)
    weights = 4 * (32 + 3 * 32 * 48)
    assert kept(lambda: norm(x)) <= places * (32 + 2)
    assert kept(lambda: layer(x)) <= places * (32 + 3 * 48) + weights
    assert kept(lambda: both(x)) > places * (2 * 32 + 3 * 48)
    monkeypatch.setattr(linear, "_LARGE", 1)
    assert kept(lambda: both(x)) <= places * (32 + 2 * 48) + weights


@pytest.mark.parametrize("way", ["whole", "lora", "checkpoint", "bfloat16"])
def test_what_is_made_twice_changes_no_gradient(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    shape = Architecture.build(SHAPE | {"num_layers": 2})
    module = Decoder(shape)
    module.initialise(0)
    for name, weight in module.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.normal_(weight, std=0.1)  # at their zeros nothing would flow back
    weights = dict(module.named_parameters())
    if way == "lora":
        adapters = Adapters(module)
        adapters.add("one", LoRASettings(rank=2), seed=0)
        adapters.select("one")
        weights = {name: one for name, one in module.named_parameters() if "lora" in name}
    elif way == "checkpoint":
        for block in module.layers:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    elif way == "bfloat16":
        monkeypatch.setattr(linear, "has_bfloat16", lambda: False)
        module.bfloat16()
    ids = torch.randint(64, (3, 17), generator=torch.Generator().manual_seed(0))
    found = []
    for least in (2**19, 1):
        monkeypatch.setattr(linear, "_LARGE", least)
        loss = module.nll(ids[:, :-1], ids[:, 1:])
        found.append(torch.autograd.grad(loss, list(weights.values())))
    for name, plain, twice in zip(weights, *found, strict=True):
        assert "lora" in name or plain.any(), name
        torch.testing.assert_close(twice, plain, rtol=2e-5, atol=2e-6)


def test_what_a_hook_has_written_to_is_not_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_LARGE", 1)
    norm, layer = RMSNorm(32, 1e-6), linear.Linear(32, 8, bias=False)
    norm.register_forward_hook(lambda module, given, y: y.mul_(2))
    x = torch.randn(4, 32)
    plain = 2 * F.rms_norm(x, (32,), norm.weight, 1e-6) @ layer.weight.t()
    alike(gradients(layer(norm(x)), layer.weight), gradients(plain, layer.weight))


def test_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's loop may have it; the gradients come in the types of the weights."""
    monkeypatch.setattr(linear, "_LARGE", 1)
    layer, norm = FeedForward(Architecture.build(SHAPE)), RMSNorm(32, 1e-6)
    x = torch.randn(3, 5, 32, requires_grad=True)
    of = (x, *layer.parameters())
    wanted = gradients(layer(norm(x)), *of)
    with torch.autocast("cpu", torch.bfloat16):
        value = layer(norm(x))
    for one, other in zip(gradients(value, *of), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)
