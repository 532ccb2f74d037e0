"""What a kind of training gives to the loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from langwright.store import Run
from langwright.training.learner import Batch

M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)
B = TypeVar("B", bound=Batch)


class Stage(Protocol[M_contra, B]):
    """What one kind of training is: its batches, its loss and its measure."""

    name: str

    @property
    def unit(self) -> str:
        """What the loss is a sum over, in the plural."""
        ...

    def micro_batches(self, step: int) -> Sequence[B]:
        """The data of a step: a pure function of the seed and the step."""
        ...

    def loss(self, module: M_contra, batch: B) -> Tensor:
        """The sum (not the mean) of the loss over the batch's units."""
        ...

    def bits_per_byte(self, loss: float) -> float | None:
        """The training loss (nats a token) in bits per byte, where that has a meaning."""
        ...

    def evaluate(self, module: M_contra, whole: bool) -> dict[str, float]:
        """Validation figures, `val_loss` among them, on a sample or on the whole."""
        ...

    @property
    def edge(self) -> int:
        """A run can be resumed where so many steps have been made, and at multiples of it."""
        ...

    @property
    def foreknown(self) -> bool:
        """Whether the data of a step is known before the steps until then are made."""
        ...

    @property
    def stopped(self) -> str | None:
        """Why it had better end at the next edge, before all steps are made."""
        ...

    @property
    def best(self) -> int | None:
        """The step, one that was evaluated, whose weights the run shall leave; None: the last."""
        ...

    def begin(self, module: M_contra, run: Run, fresh: bool) -> None:
        """Is told of the module that will be trained; when `fresh`, before its first step."""
        ...

    def evaluated(self, step: int) -> None:
        """Is told of which step the evaluation was that it has just made for the loop."""
        ...

    def figures(self) -> dict[str, float]:
        """What it has to tell of the step that was just worked through, beside the loss."""
        ...


class PlainStage:
    """What most stages have to say to the others: nothing."""

    unit = "tokens"
    edge = 1
    foreknown = True
    stopped: str | None = None
    best: int | None = None

    def begin(self, module: Any, run: Run, fresh: bool) -> None:
        pass

    def evaluated(self, step: int) -> None:
        pass

    def figures(self) -> dict[str, float]:
        return {}
