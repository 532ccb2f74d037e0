"""The float32 weights that an optimizer moves, and the module that computes with them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MasterWeights:
    """A module's float32 weights by name, with their gradients.

    A module that computes in float32 computes with them. One that computes in bfloat16 holds a
    copy: its gradients are added to those of the masters in float32 after each micro-batch, and the
    new weights are copied back after each step. A tied head counts once.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        module.float().requires_grad_(True)
        self.weights: dict[str, Tensor] = dict(module.named_parameters())
        self._copies: list[Tensor] = []
        if dtype != torch.float32:
            self.weights = {name: held.detach().clone() for name, held in self.weights.items()}
            self._copies = list(module.parameters())
            for copy in self._copies:
                # Not `module.to`: the angles of rotary positions must not be rounded.
                copy.data = copy.data.to(dtype)
        self._masters = list(self.weights.values())
        self.clear()

    def clear(self) -> None:
        """No gradients."""
        for weight in self._masters:
            if not self._copies:
                weight.grad = None
        self._fresh = True

    def last_next(self, last: bool) -> None:
        """Nothing: there is no one to tell."""

    def gather(self) -> None:
        """Add the gradients that the module's copies got, and drop theirs."""
        for weight, copy in zip(self._masters, self._copies, strict=False):
            if weight.grad is None:
                weight.grad = torch.empty_like(weight)
            if copy.grad is None:
                if self._fresh:
                    weight.grad.zero_()
            elif self._fresh:  # the memory still holds the step before
                weight.grad.copy_(copy.grad)
            else:
                weight.grad += copy.grad
            copy.grad = None
        self._fresh = False

    def clip(self, limit: float) -> Tensor:
        """Scale the whole gradient down to the norm `limit`; returns the norm before."""
        for weight in self._masters:
            if weight.grad is None:  # of what took no part
                weight.grad = torch.zeros_like(weight)
        norm: Tensor = torch.nn.utils.clip_grad_norm_(self._masters, limit)
        return norm

    @torch.no_grad()
    def publish(self) -> None:
        """Give the module the new weights, and clear the gradients."""
        self.clear()
        if self._copies:
            torch._foreach_copy_(self._copies, self._masters)


class AdapterWeights(MasterWeights):
    """The parameters of a module that are `learnt`, which are float32, and compute as they are; the
    others stay."""

    def __init__(self, module: nn.Module, learnt: Mapping[str, nn.Parameter]) -> None:
        module.requires_grad_(False)
        self.weights = {name: held.requires_grad_(True) for name, held in learnt.items()}
        self._copies = []
        self._masters = list(self.weights.values())
        self.clear()
