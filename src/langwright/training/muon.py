"""Muon (Jordan 2024): momentum whose matrices are made orthogonal, for the hidden layers' weights.

As `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, but matrices of one shape go through
the iteration together, in float32 on a processor that has no bfloat16, and sharded ones are
gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from langwright.training.parts import placed_as, whole

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; they bring all singular values to about 1 in five rounds."""
ROUNDS = 5
_STACKED = 2**24
"""Elements of the matrices that go through the iteration at one time."""


def orthogonal(matrices_SMN: Tensor) -> Tensor:
    """Each matrix with its singular values brought near 1, by Newton and Schulz's iteration."""
    x = matrices_SMN if matrices_SMN.shape[-2] <= matrices_SMN.shape[-1] else matrices_SMN.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if matrices_SMN.shape[-2] <= matrices_SMN.shape[-1] else x.mT


class Muon(torch.optim.Optimizer):
    """Nesterov momentum `momentum`, decoupled `weight_decay`. An update's size is that of AdamW's
    (root mean square 0.2; Liu et al. 2025, equation 4), so that `lr` and decay mean what they mean
    there."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype
        for weight in self.param_groups[0]["params"]:
            self.state[weight]["momentum_buffer"] = torch.zeros_like(weight).detach()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                alike.setdefault(weight.shape, []).append(weight)
            for shape, weights in alike.items():
                count = max(1, _STACKED // shape.numel())
                for start in range(0, len(weights), count):
                    self._move(weights[start : start + count], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        updates = []
        for weight in weights:
            assert weight.grad is not None
            mean = self.state[weight]["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
            updates.append(whole(weight.grad.lerp(mean, group["momentum"])).to(self._dtype))
        turned = orthogonal(torch.stack(updates))
        rows, columns = turned.shape[-2:]
        size = group["lr"] * 0.2 * max(rows, columns) ** 0.5
        for weight, update in zip(weights, turned, strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(placed_as(weight, update.to(weight.dtype)), alpha=-size)
