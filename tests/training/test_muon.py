from __future__ import annotations

import pytest
import torch
from torch.optim._muon import _zeropower_via_newtonschulz

from langwright.training import muon
from langwright.training.muon import Muon, orthogonal

SHAPES = [(8, 8), (8, 8), (24, 8), (8, 24), (8, 8), (24, 8)]


def weights(generator: torch.Generator) -> list[torch.Tensor]:
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]


@pytest.mark.parametrize("stacked", [1, 100, 2**24])
def test_is_torchs_muon(monkeypatch: pytest.MonkeyPatch, stacked: int) -> None:
    """Whose iteration runs in bfloat16, as ours is told to; matrices together or one by one."""
    monkeypatch.setattr(muon, "_STACKED", stacked)
    ours = weights(torch.Generator().manual_seed(0))
    theirs = weights(torch.Generator().manual_seed(0))
    mine = Muon(ours, lr=0.01, weight_decay=0.1, momentum=0.9, dtype=torch.bfloat16)
    torchs = torch.optim.Muon(
        theirs, lr=0.01, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        mine.step()
        torchs.step()
    for one, other in zip(ours, theirs, strict=True):
        # The root mean square of five updates is 0.01; bfloat16 rounds to about a hundredth.
        assert float((one - other).detach().norm() / one.numel() ** 0.5) < 5e-4


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 12, 40), (2, 40, 12)])
def test_singular_values_come_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    turned = orthogonal(matrices)
    values = torch.linalg.svdvals(turned)
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3
    torchs = torch.stack(
        [_zeropower_via_newtonschulz(one, muon.COEFFICIENTS, muon.ROUNDS, 1e-7) for one in matrices]
    )
    assert float((turned - torchs).norm() / turned.norm()) < 0.03
