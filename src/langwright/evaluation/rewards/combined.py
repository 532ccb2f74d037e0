"""Several rewards as one, each still to be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langwright.errors import BadInput
from langwright.evaluation.rewards.reward import Asked, Messages, Reward


@dataclass(frozen=True)
class Rewarded:
    """The weighted sum of each answer, and what each part gave it, by the part's name and without
    its weight."""

    totals: list[float]
    parts: dict[str, list[float]]


class Combined:
    """The sum of weight * reward over `parts`, by name (weight, reward); a part without a number
    (nan) leaves the whole without one."""

    def __init__(self, parts: Mapping[str, tuple[float, Reward]]) -> None:
        if not parts:
            raise BadInput("There is no reward.", remedy="Give at least one.")
        self._parts = dict(parts)

    def rewarded(self, asked: Sequence[Asked]) -> Rewarded:
        parts = {name: reward.each(asked) for name, (_, reward) in self._parts.items()}
        weights = [weight for weight, _ in self._parts.values()]
        totals = [
            sum(weight * value for weight, value in zip(weights, values, strict=True))
            for values in zip(*parts.values(), strict=True)
        ]
        return Rewarded(totals, parts)

    def __call__(self, messages: Messages, answer: str, row: Mapping[str, Any]) -> float:
        return self.rewarded([Asked(messages, answer, row)]).totals[0]

    def each(self, asked: Sequence[Asked]) -> list[float]:
        return self.rewarded(asked).totals
