"""The optimizers of a run: AdamW (Loshchilov and Hutter 2019) and, if wished, Muon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from langwright.training.muon import Muon
from langwright.training.precision import compute_dtype
from langwright.training.settings import LoopSettings

TABLES = ("embed_tokens", "embed_positions", "lm_head")
"""Beginnings of the names of what is looked up, and of the head, whose rows are words."""


class Optimizers:
    """What moves the weights at each step.

    AdamW has three groups: tables (embedding and head) with a rate of their own and no decay, since
    a rare token's row would wither between its gradients; norms and biases without decay; matrices
    with. With `optimizer` `muon` the matrices are Muon's.
    """

    def __init__(self, weights: Mapping[str, Tensor], settings: LoopSettings) -> None:
        self._weights = weights
        tables = [weight for name, weight in weights.items() if _is_table(name)]
        small = [
            weight for name, weight in weights.items() if weight.dim() == 1 and not _is_table(name)
        ]
        chosen = {id(weight) for weight in tables + small}
        matrices = [weight for weight in weights.values() if id(weight) not in chosen]
        rate, decay = settings.learning_rate, settings.weight_decay
        for_tables = settings.embedding_learning_rate or rate
        groups = [
            {"params": tables, "peak": for_tables, "weight_decay": 0.0},
            {"params": small, "peak": rate, "weight_decay": 0.0},
        ]
        self._parts: list[torch.optim.Optimizer] = []
        if settings.optimizer == "muon":
            # Experts' stacked matrices stay with AdamW: Muon's are of two dimensions.
            flat = [weight for weight in matrices if weight.dim() == 2]
            matrices = [weight for weight in matrices if weight.dim() != 2]
            dtype = compute_dtype("auto", flat[0].device)
            muon = Muon(flat, rate, decay, settings.muon_momentum, dtype)
            muon.param_groups[0]["peak"] = rate
            self._parts.append(muon)
        groups.append({"params": matrices, "peak": rate, "weight_decay": decay})
        groups = [part for group in groups for part in _of_one_mesh(group)]
        betas, epsilon = settings.adam_betas, settings.adam_epsilon
        adamw = torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, fused=True)
        # The zeros of its first step. Made there, they would lie scattered over the memory that the
        # step has freed, and nothing large would fit between any more.
        for weight in (one for group in adamw.param_groups for one in group["params"]):
            moments = {key: torch.zeros_like(weight).detach() for key in ("exp_avg", "exp_avg_sq")}
            adamw.state[weight] = {"step": torch.zeros((), device=weight.device), **moments}
        self._parts.append(adamw)

    def step(self, factor: float) -> None:
        """Move the weights, at `factor` times each group's peak rate."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = group["peak"] * factor
            part.step()

    def tensors(self) -> dict[str, Tensor]:
        """The memory as named tensors: `NAME/exp_avg`, `NAME/momentum_buffer` and so on."""
        return {
            f"{name}/{key}": value
            for name, weight in self._weights.items()
            for part in self._parts
            for key, value in part.state.get(weight, {}).items()
        }


def _is_table(name: str) -> bool:
    # Of a policy with its critic each has its own.
    return name.removeprefix("policy.").removeprefix("critic.").startswith(TABLES)


def _of_one_mesh(group: dict[str, Any]) -> list[dict[str, Any]]:
    """The group, cut by the ranks that its tensors lie on: AdamW's kernel takes no mixture."""
    alike: dict[object, list[Tensor]] = {}
    for weight in group["params"]:
        mesh = weight.device_mesh if isinstance(weight, DTensor) else None
        alike.setdefault(mesh, []).append(weight)
    return [group | {"params": weights} for weights in alike.values()]
