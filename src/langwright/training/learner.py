"""What a step moves: a module, its float32 weights and their optimizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from langwright.training.optimizer import Optimizers
from langwright.training.precision import compute_device, compute_dtype
from langwright.training.settings import LoopSettings
from langwright.training.weights import MasterWeights

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")


class Learner(Generic[M]):
    """`module` in the numbers and on the device that the settings say, ready to learn.

    A step is `gradients`, then `clip`, then `move`.
    """

    def __init__(self, module: M, settings: LoopSettings) -> None:
        self.settings = settings
        self.device = compute_device(settings.device)
        self.module = module.to(self.device).train()
        self.masters = MasterWeights(module, compute_dtype(settings.precision, self.device))
        self.optimizers = Optimizers(self.masters.weights, settings)
        for block in getattr(module, "layers", ()):
            if settings.activation_checkpointing:
                # Its parameters keep their names, which a wrapper's would not.
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
            if settings.compile:
                block.compile()

    def weights(self) -> dict[str, Tensor]:
        """The float32 weights by name, for use elsewhere."""
        return {name: weight.detach() for name, weight in self.masters.weights.items()}

    def gradients(self, loss: Callable[[M, B], Tensor], batches: Sequence[B], units: int) -> Tensor:
        """Add up the gradients of sum(loss) / units; returns that loss, a scalar."""
        total = torch.zeros((), device=self.device)
        for batch in batches:
            part = loss(self.module, batch) / units
            part.backward()
            self.masters.gather()
            total += part.detach()
        return total

    def clip(self) -> Tensor:
        """Scale the gradient down to `gradient_clip`; returns its norm before, a scalar."""
        return self.masters.clip(self.settings.gradient_clip)

    def forget(self) -> None:
        """Clear the gradients; the weights stay."""
        self.masters.publish()

    def move(self, factor: float) -> None:
        """Move the weights at `factor` times their peak rates; the gradients are cleared."""
        self.optimizers.step(factor)
        self.masters.publish()
