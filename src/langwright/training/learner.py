"""What a step moves: a module, its float32 weights and their optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from langwright.model.attention import leave_apart_uncompiled
from langwright.model.device import compute_device
from langwright.training.deterministic import one_order
from langwright.training.float8 import use_float8
from langwright.training.optimizer import Optimizers
from langwright.training.parts import whole
from langwright.training.precision import compute_dtype
from langwright.training.ranks import ALONE, Ranks
from langwright.training.settings import LoopSettings
from langwright.training.sharded import ShardedWeights
from langwright.training.weights import AdapterWeights, MasterWeights

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound="Batch")


class Batch(Protocol):
    """What is worked through in one piece."""

    @property
    def units(self) -> int:
        """Number of what the loss is a sum over: target tokens."""
        ...

    @property
    def tokens(self) -> int:
        """Number of tokens read, padding left out."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same batch on the device that computes."""
        ...


class Learner(Generic[M]):
    """`module` in the numbers and on the device that the settings say, ready to learn.

    A step is `gradients`, then `clip`, then `move`. Of an adapter's model the parameters that are
    `learnt` are given: the others stay as they are, in the numbers that they are in.
    """

    def __init__(
        self,
        module: M,
        settings: LoopSettings,
        ranks: Ranks = ALONE,
        learnt: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        self.settings, self.ranks = settings, ranks
        self.device = compute_device(settings.device)
        self.module = module.to(self.device).train()
        if settings.precision == "float8":
            use_float8(module, self.device, settings.tensor_parallel)
        if settings.compile:
            leave_apart_uncompiled()
        for block in getattr(module, "layers", ()):
            # The block's own forward, for its parameters to keep their names, which a wrapper's
            # would not. The compiler does not look into `checkpoint`, which therefore goes around.
            if settings.compile:
                block.forward = torch.compile(block.forward)
            if settings.activation_checkpointing:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        dtype = compute_dtype(settings.precision, self.device)
        self.masters: MasterWeights | ShardedWeights | AdapterWeights
        if learnt is not None and len(learnt) < sum(1 for _ in module.parameters()):
            assert ranks.mesh is None, "an adapter is trained in one process"
            self.masters = AdapterWeights(module, learnt)
        elif ranks.mesh is None:
            self.masters = MasterWeights(module, dtype)
        else:
            self.masters = ShardedWeights(module, dtype, ranks.mesh)
        self.optimizers = Optimizers(self.masters.weights, settings)

    def weights(self) -> dict[str, Tensor]:
        """The float32 weights by name, for use elsewhere; on several ranks each has to ask."""
        return {name: whole(held.detach()) for name, held in self.masters.weights.items()}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Go back to these weights, of one process; the optimizer stays as it is."""
        assert self.ranks.mesh is None, "each of several processes holds a part"
        for name, held in self.masters.weights.items():
            held.copy_(weights[name])
        self.masters.publish()

    def gradients(
        self, loss: Callable[[M, B], Tensor], batches: Sequence[B], units: int, seed: int = 0
    ) -> Tensor:
        """Add up the gradients of sum(loss) / units over the batches of a step, of which each rank
        takes its share; returns that loss, a scalar. What is random in batch i is a function of
        `seed` and i."""
        total = torch.zeros((), device=self.device)
        mine = self.ranks.mine(batches)
        for turn, (number, batch, counts) in enumerate(mine, start=1):
            torch.manual_seed(seed + number)
            self.masters.last_next(turn == len(mine))
            with one_order(self.settings.deterministic and self.device.type == "cuda"):
                part = loss(self.module, batch.to(self.device)) * (counts / units)
                part.backward()
            self.masters.gather()
            total += part.detach()
        return self.ranks.sum(total)

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
