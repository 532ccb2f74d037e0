"""What a report card says, as plain data: `report.py` only sets it in type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from langwright.evaluation.interval import Interval


@dataclass(frozen=True)
class KeyFigure:
    """A measured value beside the baseline that it must beat.

    `interval` is at the level of 95%, and None only for what is exact (a count, a proof).
    """

    name: str
    value: float
    baseline: float
    baseline_name: str
    unit: str = ""
    interval: Interval | None = None
    lower_is_better: bool = True
    note: str = ""

    @property
    def verdict(self) -> Literal["beats", "equals", "unclear", "misses"]:
        """`beats` and `misses` where the whole interval lies on that side of the baseline; only
        an exact value `equals` it."""
        if self.interval is None and self.value == self.baseline:
            return "equals"
        low = self.interval.low if self.interval else self.value
        high = self.interval.high if self.interval else self.value
        below, above = high < self.baseline, low > self.baseline
        if not below and not above:
            return "unclear"
        return "beats" if below == self.lower_is_better else "misses"


@dataclass(frozen=True)
class Ancestor:
    """An artifact that the model was made from."""

    kind: str
    name: str
    digest: str
    note: str = ""


@dataclass(frozen=True)
class Stage:
    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Baseline:
    """A level that a curve should come below; `marked`: show where it does so for good."""

    name: str
    value: float
    marked: bool = False


@dataclass(frozen=True)
class Curve:
    """A measurement in the course of training, against time and against tokens seen.

    `minutes`, `tokens` and `values` are equally long and rise together in the first two.
    """

    title: str
    unit: str
    minutes: Sequence[float]
    tokens: Sequence[float]
    values: Sequence[float]
    baselines: Sequence[Baseline] = ()

    def crossing(self, baseline: Baseline, along: Sequence[float]) -> float | None:
        """Where on the axis `along` the curve comes below the baseline to stay, on a straight line
        between its two measurements there; None where it ends above."""
        below = [value < baseline.value for value in self.values]
        if not below or not below[-1]:
            return None
        first = len(below) - below[::-1].index(False) if False in below else 0
        if first == 0:
            return along[0]
        before, after = self.values[first - 1], self.values[first]
        share = (before - baseline.value) / (before - after)
        return along[first - 1] + share * (along[first] - along[first - 1])


@dataclass(frozen=True)
class Answer:
    """What a model said, and the grader's verdict in words."""

    text: str
    ok: bool
    verdict: str


@dataclass(frozen=True)
class Sample:
    """One prompt, answered by the model before and after the last stage."""

    prompt: str
    before: Answer
    after: Answer


@dataclass(frozen=True)
class Taken:
    """The tests that every model of a life took, as one of them did: `values`, each in the unit of
    its test, and of a stage with a gate whether its model was `promoted`, and `why`."""

    stage: str
    model: str
    values: Mapping[str, float]
    promoted: bool | None = None
    why: str = ""


@dataclass(frozen=True)
class Report:
    """One report card. `settings` holds a table of names and values for each title."""

    title: str
    subtitle: str
    figures: Sequence[KeyFigure] = ()
    curves: Sequence[Curve] = ()
    tests: Sequence[Taken] = ()
    tests_note: str = ""
    samples: Sequence[Sample] = ()
    samples_note: str = ""
    stages: Sequence[Stage] = ()
    lineage: Sequence[Ancestor] = ()
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    commands: Sequence[str] = ()
