"""Over-optimisation: the reward that is meant, watched beside the one that is learnt from.

A policy that learns from a stand-in for what is meant (the proxy) gets better by both at first. Far
enough from where it began the proxy goes on rising while the reward that is meant (the gold one)
falls (Gao, Schulman and Hilton 2022, arXiv 2210.10760, figure 1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from langwright.errors import BadInput, Damaged
from langwright.evaluation import bootstrap_difference
from langwright.store import write_atomic

FILE = "gold.jsonl"
"""In the run's folder: a line for each evaluation."""
LEAST = 8
"""Held-out prompts: of fewer, a resampled interval says little."""


@dataclass(frozen=True)
class Seen:
    """At an evaluation, the mean held-out `reward` that is learnt from, and the gold reward of the
    answer to each held-out prompt."""

    step: int
    reward: float
    gold: list[float]

    @property
    def mean(self) -> float:
        return sum(self.gold) / len(self.gold)


class Gold:
    """Every evaluation's gold reward: which one is best, and whether it is time to stop.

    It is time when gold has fallen from its best by more than chance explains (the 95% interval of
    the paired bootstrap over the same prompts lies below 0), while the reward that is learnt from
    has risen, or at two evaluations in a row. Both are functions of what was seen, so a run that
    was killed decides as one that was not.
    """

    def __init__(self, name: str, seed: int, num_prompts: int) -> None:
        if num_prompts < LEAST:
            raise BadInput(
                f"{num_prompts} held-out prompts are too few to see '{name}' fall.",
                remedy=f"Raise validation_fraction, or give more prompts: {LEAST} must be held out "
                "at least, and some dozen tell more.",
            )
        self._name, self._seed = name, seed
        self._seen: list[Seen] = []
        self._path = Path()

    def begin(self, folder: Path, steps: Collection[int]) -> None:
        """Go on from the evaluations of `steps`, which the run has behind it; forget others."""
        self._path = folder / FILE
        lines = self._path.read_text(encoding="utf-8").splitlines() if steps else []
        every = [Seen(**json.loads(line)) for line in lines]
        self._seen = [one for one in every if one.step in steps]
        if {one.step for one in self._seen} != set(steps):
            raise Damaged(
                f"{self._path} has not all evaluations of the run.",
                remedy="Remove the run and start again.",
            )

    def add(self, step: int, reward: float, gold: Sequence[float]) -> None:
        """Take down an evaluation. Raises `BadInput` for a gold reward that is no number."""
        if not all(map(math.isfinite, gold)):
            raise BadInput(
                f"The gold reward '{self._name}' of an answer is no number.",
                remedy="See what the judge says; take a rule instead.",
            )
        self._seen.append(Seen(step, reward, list(gold)))
        write_atomic(self._path, "".join(json.dumps(asdict(one)) + "\n" for one in self._seen))

    @property
    def best(self) -> int | None:
        """The step of the best evaluation; of equal ones the first, which is nearest to the
        reference."""
        return self._best.step if self._seen else None

    @property
    def _best(self) -> Seen:
        return max(self._seen, key=lambda one: one.mean)

    @property
    def stopped(self) -> str | None:
        """Why it is time to stop, or None."""
        if len(self._seen) < 2 or not self._fallen(self._seen[-1]):
            return None
        best, (before, last) = self._best, self._seen[-2:]
        told = (
            f"the gold reward '{self._name}' has fallen from {best.mean:.3g} at step {best.step} "
            f"to {last.mean:.3g}"
        )
        if last.reward > best.reward:
            return (
                f"{told}, while that of training rose from {best.reward:.3g} to {last.reward:.3g}"
            )
        return f"{told}, at two evaluations in a row" if self._fallen(before) else None

    def _fallen(self, one: Seen) -> bool:
        ones = [1.0] * len(one.gold)
        return bootstrap_difference(one.gold, self._best.gold, ones, self._seed).high < 0
