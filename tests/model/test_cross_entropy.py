from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from langwright.model import cross_entropy
from langwright.model.cross_entropy import IGNORED, cross_entropy_sum


def case(rows: int = 37, size: int = 16, words: int = 50) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, size, generator=generator, dtype=torch.float32) * 3
    weight = torch.randn(words, size, generator=generator) * 3
    targets = torch.randint(words, (rows,), generator=generator)
    targets[::5] = IGNORED
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def plain(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, cap: float | None
) -> torch.Tensor:
    logits = hidden @ weight.T
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    return F.cross_entropy(logits, targets, reduction="sum")


@pytest.mark.parametrize("way", ["_in_place", "_plain"])
@pytest.mark.parametrize("cap", [None, 15.0])
@pytest.mark.parametrize("held", [1, 200, 50 * 37, 10**6])
def test_loss_and_gradients_are_torchs(
    monkeypatch: pytest.MonkeyPatch, held: int, cap: float | None, way: str
) -> None:
    """Cut into stretches of one row, of some, and whole; logits of up to some hundreds."""
    monkeypatch.setitem(cross_entropy._LOGITS, "cpu", held)
    monkeypatch.setattr(cross_entropy, "_LEAST_ROWS", 1)
    monkeypatch.setattr(cross_entropy, "_in_place", getattr(cross_entropy, way))
    hidden, weight, targets = case()
    for scale in (1.0, 1 / 30):
        expected = plain(hidden, weight, targets, cap) * scale
        wanted = torch.autograd.grad(expected, (hidden, weight))
        got = cross_entropy_sum(hidden, weight, targets, cap) * scale
        torch.testing.assert_close(got, expected)
        for ours, theirs in zip(torch.autograd.grad(got, (hidden, weight)), wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_in_bfloat16_only_the_products_are_rounded() -> None:
    hidden, weight, targets = case()
    low, heavy = ((one.detach() / 3).bfloat16().requires_grad_() for one in (hidden, weight))
    expected = plain(low.float(), heavy.float(), targets, None)
    got = cross_entropy_sum(low, heavy, targets)
    assert got.dtype == torch.float32
    assert float(got.detach()) == pytest.approx(float(expected.detach()), rel=5e-3)
    for ours, theirs in zip(
        torch.autograd.grad(got, (low, heavy)),
        torch.autograd.grad(expected, (low, heavy)),
        strict=True,
    ):
        assert ours.dtype == torch.bfloat16
        assert (ours - theirs).float().norm() < 0.02 * theirs.float().norm()


def test_a_frozen_weight_gets_no_gradient_and_evaluation_none_at_all() -> None:
    hidden, weight, targets = case()
    frozen = weight.detach()
    wanted = torch.autograd.grad(plain(hidden, frozen, targets, None), hidden)
    got = torch.autograd.grad(cross_entropy_sum(hidden, frozen, targets), hidden)
    torch.testing.assert_close(got, wanted)
    with torch.no_grad():
        assert not cross_entropy_sum(hidden, weight, targets).requires_grad


def test_nothing_learnt_is_a_loss_of_nothing() -> None:
    hidden, weight, targets = case()
    loss = cross_entropy_sum(hidden, weight, torch.full_like(targets, IGNORED))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert hidden.grad is not None
    assert not hidden.grad.any()
