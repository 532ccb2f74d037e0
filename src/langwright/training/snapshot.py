"""A copy in memory of all that a step moves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from langwright.training.learner import Learner
from langwright.training.state import TrainingState


class Snapshot:
    """The weights, the optimizer's memory and the state at a step, in the memory of the machine.

    Each rank copies what it holds itself. Taken again, it writes over the same tensors.
    """

    def __init__(self) -> None:
        self.state: dict[str, object] = {}
        self._tensors: dict[str, Tensor] = {}

    @torch.no_grad()
    def take(self, learner: Learner[Any], state: TrainingState) -> None:
        """Copy all of it."""
        self.state = state.values()
        for name, living in _tensors(learner).items():
            if name not in self._tensors:
                self._tensors[name] = torch.empty_like(
                    living, device="cpu", pin_memory=living.is_cuda
                )
            self._tensors[name].copy_(living, non_blocking=True)
        if learner.device.type == "cuda":
            torch.cuda.synchronize(learner.device)

    @torch.no_grad()
    def restore(self, learner: Learner[Any]) -> None:
        """Write the tensors back; the gradients are cleared."""
        for name, living in _tensors(learner).items():
            # What was not there yet began with zeros.
            if name in self._tensors:
                living.copy_(self._tensors[name])
            else:
                living.zero_()
        learner.masters.publish()


def _tensors(learner: Learner[Any]) -> dict[str, Tensor]:
    """All that changes, by name: of a tensor in shards this rank's own."""
    found = {f"weights/{name}": weight for name, weight in learner.masters.weights.items()}
    found |= {f"memory/{name}": held for name, held in learner.optimizers.tensors().items()}
    return {
        name: held.to_local() if isinstance(held, DTensor) else held.detach()
        for name, held in found.items()
    }
