"""How far raters agree, beyond what chance would give."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput
from langwright.evaluation.interval import Interval

_Floats = npt.NDArray[np.float64]
_Coefficient = Callable[[_Floats], _Floats]

RESAMPLES = 1000


@dataclass(frozen=True)
class Measure:
    """A coefficient with its bounds at 95%. `value` is None where it has no meaning, since all
    gave one and the same label; `low` and `high` where the units are too few to tell."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Agreement:
    """Over `units`, those with two labels or more: `share`, how often two labels of a unit are the
    same, each unit weighing as much as it has labels (what alpha corrects for chance); `alpha`,
    Krippendorff's; `kappa`, Cohen's, of two raters."""

    units: int
    share: Interval
    alpha: Measure
    kappa: Measure | None


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """(p_o - p_e) / (1 - p_e) of two raters who gave each unit a label, both [num_units]; p_o is
    the share on which they agree, p_e that expected of their own shares of each label.

    None where both gave one and the same label to all. Source: Cohen 1960, equation 1. Raises
    `BadInput` for different numbers of labels, or none.
    """
    if len(first) != len(second) or not first:
        raise BadInput(
            f"{len(first)} labels stand against {len(second)}.",
            remedy="Give one of each rater for every unit.",
        )
    tables = _confusions([list(pair) for pair in zip(first, second, strict=True)])
    return _value(_kappa(tables.sum(0, keepdims=True)))


def krippendorff_alpha(units: Sequence[Sequence[Hashable | None]]) -> float | None:
    """1 - D_o / D_e for labels without order: `units` is [num_units][num_raters], None where a
    rater gave no label; a unit with fewer than two counts for nothing.

    None where all labels are the same. Source: Krippendorff 2011, "Computing Krippendorff's
    Alpha-Reliability", C. Raises `BadInput` where no unit has two labels.
    """
    return _value(_alpha(_coincidences(_rated_twice(units)).sum(0, keepdims=True)))


def agreement(units: Sequence[Sequence[Hashable | None]], seed: int = 0) -> Agreement:
    """All of it for `units`, [num_units][num_raters], None where a rater gave no label. Bounds by
    the percentile bootstrap over units, as the pairs of raters on one unit are not independent
    (Hayes and Krippendorff 2007 resample too); a resample without meaning is left out.

    Raises `BadInput` where no unit has two labels.
    """
    twice = _rated_twice(units)
    together = _coincidences(twice)
    drawn = _draws(len(twice), seed)
    value = float(_share(together.sum(0, keepdims=True))[0])
    low, high = (value, value) if drawn is None else _bounds(_share(_sums(drawn, together)))
    kappa = None
    if len(units[0]) == 2:
        kappa = _measure(_kappa, _confusions(twice), drawn)
    return Agreement(
        len(twice),
        Interval(value, low if low is not None else value, high if high is not None else value),
        _measure(_alpha, together, drawn),
        kappa,
    )


def _rated_twice(units: Sequence[Sequence[Hashable | None]]) -> list[list[Hashable | None]]:
    found = [list(unit) for unit in units if sum(label is not None for label in unit) > 1]
    if not found:
        raise BadInput(
            "No unit has the labels of two raters.", remedy="Let two raters judge the same."
        )
    return found


def _numbers(units: Sequence[Sequence[Hashable | None]]) -> dict[Hashable, int]:
    labels = dict.fromkeys(label for unit in units for label in unit if label is not None)
    return {label: number for number, label in enumerate(labels)}


def _coincidences(units: Sequence[Sequence[Hashable | None]]) -> _Floats:
    """[num_units, C, C]: how often labels c and k stand together in a unit, over its number of
    labels less one."""
    number = _numbers(units)
    tables = np.zeros((len(units), len(number), len(number)))
    for table, unit in zip(tables, units, strict=True):
        given = [number[label] for label in unit if label is not None]
        counts = np.bincount(given, minlength=len(number)).astype(np.float64)
        table[:] = (np.outer(counts, counts) - np.diag(counts)) / (len(given) - 1)
    return tables


def _confusions(units: Sequence[Sequence[Hashable | None]]) -> _Floats:
    """[num_units, C, C]: one at what the first and the second rater said."""
    number = _numbers(units)
    tables = np.zeros((len(units), len(number), len(number)))
    for table, (first, second) in zip(tables, units, strict=True):
        assert first is not None
        assert second is not None
        table[number[first], number[second]] = 1
    return tables


def _share(tables: _Floats) -> _Floats:
    """The weight on the diagonals of [R, C, C]."""
    return np.trace(tables, axis1=1, axis2=2) / tables.sum((1, 2))


def _alpha(tables: _Floats) -> _Floats:
    n = tables.sum((1, 2))
    of_label = tables.sum(2)
    apart = n - np.trace(tables, axis1=1, axis2=2)
    expected = n**2 - (of_label**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - (n - 1) * apart / expected, np.nan)


def _kappa(tables: _Floats) -> _Floats:
    shares = tables / tables.sum((1, 2), keepdims=True)
    agreed = np.trace(shares, axis1=1, axis2=2)
    # Both margins, label by label.
    expected = (shares.sum(2) * shares.sum(1)).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected < 1, (agreed - expected) / (1 - expected), np.nan)


def _draws(num_units: int, seed: int) -> _Floats | None:
    """[RESAMPLES, num_units]: how often each unit is drawn; None for a single unit."""
    if num_units < 2:
        return None
    random = np.random.default_rng(seed)
    return random.multinomial(num_units, np.full(num_units, 1 / num_units), RESAMPLES).astype(float)


def _sums(drawn: _Floats, tables: _Floats) -> _Floats:
    return np.tensordot(drawn, tables, axes=1)


def _measure(coefficient: _Coefficient, tables: _Floats, drawn: _Floats | None) -> Measure:
    value = _value(coefficient(tables.sum(0, keepdims=True)))
    if value is None or drawn is None:
        return Measure(value, None, None)
    return Measure(value, *_bounds(coefficient(_sums(drawn, tables))))


def _bounds(values: _Floats) -> tuple[float | None, float | None]:
    """None where half of the resamples have no meaning."""
    kept = values[~np.isnan(values)]
    if len(kept) < len(values) / 2:
        return None, None
    low, high = np.quantile(kept, [0.025, 0.975])
    return float(low), float(high)


def _value(values: _Floats) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])
