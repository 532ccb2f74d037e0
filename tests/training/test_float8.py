"""Products in 8-bit floats; torch's operator is on the CPU, too, though slow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.training.step_worker import DATA, fresh, settings
from torch import Tensor

from langwright.errors import Unsupported
from langwright.model import Architecture, Decoder
from langwright.store import Store
from langwright.training import pretrain
from langwright.training.batch import next_token_loss
from langwright.training.float8 import Float8Linear, convert, scaled
from langwright.training.learner import Learner

ROWS, INPUTS, OUTPUTS = 48, 64, 32


def layer(bias: bool = True, dtype: torch.dtype = torch.float32) -> Float8Linear:
    torch.manual_seed(1)
    return Float8Linear(INPUTS, OUTPUTS, bias=bias, dtype=dtype)


def drawn(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(sum(size)))


def rounded(x: Tensor, kind: torch.dtype) -> Tensor:
    """In 8 bits and back; by the definition, apart from the code."""
    scale = torch.finfo(kind).max / x.abs().max()
    return (x * scale).to(kind).double() / scale.double()


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("rows", [ROWS, 1, 17])
def test_products_are_those_of_the_rounded_tensors(rows: int) -> None:
    """To 1e-3; and to what rounding to 3 bits (gradients: 2) costs, those of the whole ones: errors
    of up to a sixteenth (an eighth) of each factor, 3% (5%) in the mean of squares."""
    one, x, grad = layer(), drawn(rows, INPUTS).requires_grad_(), drawn(rows, OUTPUTS)
    y = one(x[None])[0]
    y.backward(grad)
    assert x.grad is not None
    assert one.weight.grad is not None
    assert one.bias.grad is not None
    weight, bias = one.weight.detach(), one.bias.detach()
    e4m3, e5m2 = torch.float8_e4m3fn, torch.float8_e5m2
    x8, w8, g8 = rounded(x.detach(), e4m3), rounded(weight, e4m3), rounded(grad, e5m2)
    found = (y.detach() - bias, x.grad, one.weight.grad)
    for one_found, expected in zip(found, (x8 @ w8.T, g8 @ w8, g8.T @ x8), strict=True):
        assert distance(one_found, expected) < 1e-3
    x64, w64, g64 = x.detach().double(), weight.double(), grad.double()
    exact = (x64 @ w64.T, g64 @ w64, g64.T @ x64)
    for one_found, expected, most in zip(found, exact, (0.05, 0.08, 0.08), strict=True):
        assert 0.01 < distance(one_found, expected) < most
    torch.testing.assert_close(one.bias.grad, grad.sum(0))


def test_each_scale_is_that_of_the_largest_value() -> None:
    """So a tensor's size does not matter, zeros stay zeros, and what is no number is not hidden."""
    x = drawn(ROWS, INPUTS)
    for factor in (1e-6, 1.0, 1e6):
        held, back = scaled(x * factor, torch.float8_e5m2)
        assert float(held.float().abs().max()) == torch.finfo(torch.float8_e5m2).max
        assert distance(held.float() * back, x.double() * factor) < 0.08
    held, back = scaled(torch.zeros(2, 2), torch.float8_e4m3fn)
    assert (held.float() * back == 0).all()
    for bad in (torch.nan, torch.inf):
        x[3, 5] = bad
        assert layer()(x).isnan().any()


def test_matrices_of_the_blocks_alone_and_of_fitting_sizes() -> None:
    shape = Architecture(
        vocab_size=64, hidden_size=32, intermediate_size=40, num_layers=2, num_heads=2,
        num_kv_heads=1, head_dim=16, context_length=32,
    )  # fmt: skip
    module = Decoder(shape)
    names = list(module.state_dict())
    assert convert(module) == (8, 6)  # 40 is no multiple of 16: gate, up and down stay
    assert list(module.state_dict()) == names
    found = {name.rpartition(".")[2] for name, part in module.named_modules() if
             isinstance(part, Float8Linear)}  # fmt: skip
    assert found == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_it_learns_as_in_bfloat16() -> None:
    """And its masters are float32."""
    falls: dict[str, float] = {}
    changes: dict[str, Callable[[Decoder], object]] = {"bfloat16": lambda _: None}
    for name, change in (changes | {"float8": convert}).items():
        module = fresh()
        change(module)
        learner = Learner(module, settings(precision="bfloat16"))
        batches = DATA["pretrain"](64)
        units = sum(batch.units for batch in batches)
        losses = []
        for _ in range(40):
            losses.append(float(learner.gradients(next_token_loss, batches, units)))
            learner.clip()
            learner.move(1.0)
        assert losses[0] > 4  # of 61 words
        assert {held.dtype for held in learner.weights().values()} == {torch.float32}
        falls[name] = losses[0] - losses[-1]
    assert falls["bfloat16"] > 2
    assert falls["float8"] != falls["bfloat16"]
    assert falls["float8"] == pytest.approx(falls["bfloat16"], rel=0.1)


def test_where_there_is_no_such_gpu_it_says_so(store: Store, recipe: str, words: str) -> None:
    with pytest.raises(Unsupported, match=r"8\.9") as error:
        pretrain(recipe, store=store, corpus=words, vocab_size=300, precision="float8")
    assert "bfloat16" in error.value.remedy
