"""The gate between two models: the new one is promoted, or the old one is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langwright.evaluation import compare

Pair = tuple[float, float]


@dataclass(frozen=True)
class Check:
    """One test of both models. `gain` is by how much the new one is better (negative: worse), from
    `low` to `high` at 95%, paired over the same items. An `aim` is what the new one was made for;
    in all else it may lose `margin` at most."""

    test: str
    before: float
    after: float
    gain: float
    low: float
    high: float
    margin: float
    aim: bool

    @property
    def better(self) -> bool:
        return self.low > 0

    @property
    def holds(self) -> bool:
        """Whether it is shown not to be worse by more than the margin (a test of non-inferiority:
        what is merely unclear does not hold)."""
        return self.low >= -self.margin


@dataclass(frozen=True)
class Decision:
    """`promote` the new model or keep the old one, and why, in words."""

    promote: bool
    why: str
    checks: Sequence[Check]


def check(
    test: str,
    after: Sequence[Pair],
    before: Sequence[Pair],
    *,
    aim: bool = False,
    margin: float = 0.0,
    lower_is_better: bool = False,
    seed: int = 0,
) -> Check:
    """Both models on the same items, each (numerator, denominator)."""
    found = compare(after, before, seed)
    sign = -1.0 if lower_is_better else 1.0
    low, high = (found.difference if edge is None else edge for edge in (found.low, found.high))
    bounds = (min(sign * low, sign * high), max(sign * low, sign * high))
    return Check(test, _ratio(before), _ratio(after), sign * found.difference, *bounds, margin, aim)


def _ratio(pairs: Sequence[Pair]) -> float:
    return sum(top for top, _ in pairs) / sum(bottom for _, bottom in pairs)


def decide(checks: Sequence[Check]) -> Decision:
    """Promote what is shown to be better at one of its aims, and at nothing worse by more than the
    margin."""
    aims = [one for one in checks if one.aim]
    better = [one for one in aims if one.better]
    lost = [one for one in checks if not one.better and not one.holds]
    if not aims:
        why = "nothing was measured that it was made for"
    elif lost:
        why = "; ".join(
            f"{one.test} may be worse by {-one.low:.3g}, beyond {one.margin:g}"
            if not one.aim or one.high >= 0
            else f"{one.test} is worse by {-one.gain:.3g}, though it was the aim"
            for one in lost
        )
    elif not better:
        why = f"no clear gain in {' or '.join(one.test for one in aims)}"
    else:
        why = "; ".join(f"{one.test} is better by {one.gain:.3g}" for one in better)
    return Decision(bool(better) and not lost, why, list(checks))
