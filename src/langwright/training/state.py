"""What a checkpoint carries beside tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass
class GuardState:
    """What the guard remembers; plain values, so that a resumed run decides as one that was never
    stopped.

    `losses`, `norms`: of the last accepted steps, the newest last. `first`: the losses of the first
    steps of all. `refused`: how many batches in
    a row have been left out just now. `skipped`: the data windows left out, in order. `snapshots`:
    the steps of which there is one. `rollbacks`: the step that the run stood at when it went back,
    for each time. `rate`: what the learning rates are multiplied with. `incidents`: how many.
    """

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    refused: int = 0
    skipped: list[int] = field(default_factory=list)
    snapshots: list[int] = field(default_factory=list)
    rollbacks: list[int] = field(default_factory=list)
    rate: float = 1.0
    incidents: int = 0


@dataclass
class TrainingState:
    """`step` counts the updates made. `seconds` are those of training steps alone."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    guard: GuardState = field(default_factory=GuardState)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of `values`."""
        return cls(**{**values, "guard": GuardState(**values["guard"])})

    def values(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)
