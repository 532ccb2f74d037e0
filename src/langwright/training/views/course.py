"""The course of a run, from the lines of its metrics. All fields but "step" may be missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Course:
    """`steps` are the lines of training steps, `evaluations` those with a `val_loss`, `incidents`
    and `samples` those with a field of that name; each in order."""

    steps: list[Line]
    evaluations: list[Line]
    incidents: list[Line]
    samples: list[Line]

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Course:
        lines = list(lines)
        fields = ("loss", "val_loss", "incident", "sample")
        return cls(*([line for line in lines if field in line] for field in fields))

    @property
    def step(self) -> int:
        """The last step that was made."""
        return int(self.steps[-1]["step"]) if self.steps else 0

    @property
    def skipped(self) -> set[int]:
        """Windows of the data, from 0, that incidents had the run leave out."""
        found: set[int] = set()
        for line in self.incidents:
            incident = line["incident"]
            bounds = incident.get("skipped") if isinstance(incident, Mapping) else None
            if bounds:
                found |= set(range(bounds[0], bounds[1] + 1))
        return found

    def values(self, field: str) -> list[float]:
        """The field of the training steps that have it, where it is a number."""
        return [float(line[field]) for line in self.steps if is_number(line.get(field))]

    @property
    def step_seconds(self) -> list[float]:
        """How long each step took but the first of each process: `seconds` adds them up."""
        pairs = zip(self.steps, self.steps[1:], strict=False)
        gaps = [b["seconds"] - a["seconds"] for a, b in pairs if "seconds" in a and "seconds" in b]
        return [gap for gap in gaps if gap >= 0]

    def tokens_per_second(self, last: int = 50) -> float | None:
        """Trained tokens over the seconds of training, in the last so many steps."""
        lines = [line for line in self.steps if {"tokens", "seconds"} <= line.keys()][-last - 1 :]
        if not lines:
            return None
        first = lines[0] if len(lines) > 1 else {"tokens": 0, "seconds": 0.0}
        seconds = lines[-1]["seconds"] - first["seconds"]
        return float((lines[-1]["tokens"] - first["tokens"]) / seconds) if seconds > 0 else None

    def seconds_left(self, steps: int, last: int = 50) -> float | None:
        """Of training alone, at the pace of the last so many steps: measuring comes on top."""
        taken = self.step_seconds[-last:]
        return median(taken) * (steps - self.step) if taken else None


def is_number(value: object) -> bool:
    """Whether it is a finite number; JSON lines may also hold the word "nan"."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
