"""AdamW (Loshchilov and Hutter 2019) over float32 master weights, the embedding apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from langwright.training.settings import LoopSettings


class MasterWeights:
    """Float32 copies of a module's parameters, which the optimizer moves.

    The module itself may compute in bfloat16: gradients are gathered in float32 after each
    micro-batch, and the new weights copied back after each step. The order of parameters is the
    module's own, a tied head counted once.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        names = dict(module.named_parameters())
        self.weights = {name: weight.detach().float().clone() for name, weight in names.items()}
        self._module = module.to(dtype).requires_grad_(True)
        self._parameters: list[Tensor] = list(self._module.parameters())
        self._masters = list(self.weights.values())
        for weight in self._masters:
            weight.grad = torch.zeros_like(weight)

    def gather(self) -> None:
        """Add the module's gradients to the masters', and clear them."""
        for weight, parameter in zip(self._masters, self._parameters, strict=True):
            assert weight.grad is not None
            if parameter.grad is not None:
                weight.grad += parameter.grad
                parameter.grad = None

    def clip(self, limit: float) -> float:
        """Scale the whole gradient down to the norm `limit`; returns the norm before."""
        return float(torch.nn.utils.clip_grad_norm_(self._masters, limit))

    @torch.no_grad()
    def publish(self) -> None:
        """Copy the masters into the module and zero their gradients."""
        for weight in self._masters:
            assert weight.grad is not None
            weight.grad.zero_()
        torch._foreach_copy_(self._parameters, self._masters)


def build_optimizer(weights: dict[str, Tensor], settings: LoopSettings) -> torch.optim.AdamW:
    """Three groups: tables (embedding and head) with a rate of their own and no decay, since a
    rare token's row would wither between its gradients; norms without decay; matrices with."""
    tables = [w for name, w in weights.items() if name.startswith(("embed_tokens", "lm_head"))]
    norms = [weight for weight in weights.values() if weight.dim() == 1]
    chosen = {id(weight) for weight in tables + norms}
    matrices = [weight for weight in weights.values() if id(weight) not in chosen]
    rate = settings.learning_rate
    groups = [
        {"params": tables, "peak": settings.embedding_learning_rate, "weight_decay": 0.0},
        {"params": norms, "peak": rate, "weight_decay": 0.0},
        {"params": matrices, "peak": rate, "weight_decay": settings.weight_decay},
    ]
    betas, epsilon = settings.adam_betas, settings.adam_epsilon
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The optimizer's memory as named tensors: `NAME/exp_avg`, `NAME/exp_avg_sq`, `NAME/step`."""
    return {
        f"{name}/{part}": value
        for name, weight in weights.items()
        for part, value in optimizer.state[weight].items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, weights: dict[str, Tensor], tensors: dict[str, Tensor]
) -> None:
    """The reverse of `optimizer_tensors`."""
    for key, value in tensors.items():
        name, _, part = key.rpartition("/")
        optimizer.state[weights[name]][part] = value
