"""Token log-probabilities in pieces: those of torch on whole logits, gradients too."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from langwright.model import cross_entropy
from langwright.model.token_logprobs import token_logprobs


@pytest.mark.parametrize("softcap", [None, 4.0])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("at_once", [2**21, 300])
def test_values_and_gradients_are_those_of_whole_logits(
    softcap: float | None, temperature: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cross_entropy._LOGITS, "cpu", at_once)
    monkeypatch.setattr(cross_entropy, "_LEAST_ROWS", 5)
    numbers = torch.Generator().manual_seed(0)
    hidden = torch.randn(37, 16, generator=numbers, dtype=torch.float64).float().requires_grad_()
    weight = torch.randn(50, 16, generator=numbers).requires_grad_()
    tokens = torch.randint(0, 50, (37,), generator=numbers)
    given = torch.randn(37, generator=numbers)
    chosen, entropy = token_logprobs(hidden, weight, tokens, softcap, temperature)
    slopes = torch.autograd.grad(chosen, (hidden, weight), given)
    logits = hidden @ weight.T
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    logprobs = F.log_softmax(logits / temperature, dim=-1)
    whole = logprobs.gather(1, tokens[:, None])[:, 0]
    expected = torch.autograd.grad(whole, (hidden, weight), given, retain_graph=True)
    torch.testing.assert_close(chosen, whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(entropy, -(logprobs.exp() * logprobs).sum(-1), rtol=1e-4, atol=1e-4)
    for one, other in zip(slopes, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert not entropy.requires_grad


def test_a_head_that_stays_gets_no_gradient() -> None:
    hidden = torch.randn(5, 4, requires_grad=True)
    weight = torch.randn(9, 4)
    chosen, _ = token_logprobs(hidden, weight, torch.arange(5))
    chosen.sum().backward()
    assert weight.grad is None
    reference = hidden.detach().clone().requires_grad_()
    F.log_softmax(reference @ weight.T, -1)[torch.arange(5), torch.arange(5)].sum().backward()
    torch.testing.assert_close(hidden.grad, reference.grad)
