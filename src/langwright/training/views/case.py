"""A run as the doctor sees it, and what the doctor says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean, median, variance
from typing import Any, Literal, TypedDict

from langwright.training.settings import LoopSettings
from langwright.training.views.course import Course, is_number

FEWEST_STEPS = 40
"""Behind the warm-up; with fewer the course says nothing."""
BLOCKS = 10
"""The course behind the warm-up is judged by the means of so many stretches."""
RATE, RATE_WIDTH = 5e-3, 128
"""A peak rate that suits models of that width; wider ones take less in proportion (as the presets
do, and Brown et al. 2020, table 2.1)."""


class Finding(TypedDict):
    """A likely cause, the figures that speak for it, what to do, and how bad it is."""

    cause: str
    severity: Literal["warning", "error"]
    evidence: dict[str, Any]
    remedy: str


@dataclass(frozen=True)
class Case:
    """A run as the signs see it. `saved`: the step of its last checkpoint; `fault`: what ended it;
    `width` and `parameters` are the model's; `floor`: nats a token by counting single tokens."""

    settings: LoopSettings
    course: Course
    status: str
    fault: str | None
    saved: int
    width: int
    parameters: int
    floor: float

    @property
    def suitable_rate(self) -> float:
        return RATE * min(1.0, RATE_WIDTH / self.width)


@dataclass(frozen=True)
class Block:
    """A stretch of the course: the mean of its losses, that mean's variance, the middle norm."""

    loss: float
    variance: float
    norm: float


def blocks_of(case: Case) -> list[Block]:
    """The course behind the warm-up; nothing where it is too short."""
    lines = [line for line in case.course.steps if line["step"] > case.settings.warmup_steps]
    lines = [line for line in lines if is_number(line["loss"])]
    if len(lines) < FEWEST_STEPS:
        return []
    size = len(lines) // BLOCKS
    found = []
    for start in range(0, BLOCKS * size, size):
        part = lines[start : start + size]
        losses = [line["loss"] for line in part]
        norms = [line["gradient_norm"] for line in part if is_number(line.get("gradient_norm"))]
        norm = median(norms) if norms else math.nan
        found.append(Block(mean(losses), variance(losses) / size, norm))
    return found
