"""How far the raters of comparisons agree."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from langwright.errors import BadInput
from langwright.evaluation.agreement import Agreement, Measure, agreement
from langwright.store import Store
from langwright.training.comparisons import Comparison, comparisons_of

Table = dict[str, Any]

_Unit = tuple[str, frozenset[str]]


def rater_agreement(names: Sequence[str], store: Store) -> Table:
    """Agreement over the comparisons in the artifacts of these `names`, taken together.

    A unit is two answers to one prompt, wherever they stand; a rater's label is `first`, `second`
    (as the answers stood where the unit came first) or `tie`. Of several answers ranked at once
    each two are a unit. Comparisons without a rater are their artifact's, whose name is then the
    rater's. Where a rater judged a unit more than once, the last time counts.

    Returns {"raters", "units", "judged_by_one", "judged_again", "share", "alpha", "kappa", "pairs"}
    with {"value", "interval"} each (95%, see `agreement`); `kappa` of two raters alone, and in
    `pairs` of each two of several: {"raters", "units", "share", "kappa"}.

    Raises `NotFound`, and `BadInput` where nothing was judged by two.
    """
    labels, again = _labels(names, store)
    raters = sorted({rater for given in labels.values() for rater in given})
    units = [[given.get(rater) for rater in raters] for given in labels.values()]
    if not any(len(given) > 1 for given in labels.values()):
        raise BadInput(
            f"No two answers were judged by two raters; the raters are {', '.join(raters)}.",
            remedy="Let another rater judge the same answers: the same command, with --rater.",
        )
    whole = agreement(units)
    found = {
        "artifacts": list(names),
        "raters": raters,
        "units": whole.units,
        "judged_by_one": sum(len(given) == 1 for given in labels.values()),
        "judged_again": again,
        **_shown(whole),
        "alpha": _measure(whole.alpha),
    }
    return found | {"pairs": _pairs(raters, units) if len(raters) > 2 else []}


def _labels(names: Sequence[str], store: Store) -> tuple[dict[_Unit, dict[str, str]], int]:
    """What each rater said of each unit, and how often a rater had said something before."""
    labels: dict[_Unit, dict[str, str]] = defaultdict(dict)
    first: dict[_Unit, str] = {}
    again = 0
    for name in dict.fromkeys(names):
        for one in comparisons_of(store.get(name), store):
            rater = name if one.rater is None else one.rater
            for unit, answer, better in _units(one):
                stands_first = first.setdefault(unit, answer)
                again += rater in labels[unit]
                said = "first" if better == stands_first else "second"
                labels[unit][rater] = "tie" if better is None else said
    return labels, again


def _units(one: Comparison) -> list[tuple[_Unit, str, str | None]]:
    """Each two answers: the unit, the answer that stands first, and the better one."""
    prompt = json.dumps(one.messages, sort_keys=True)
    ranked = list(zip(one.answers, one.ranks, strict=True))
    return [
        (
            (prompt, frozenset((answer, other))),
            answer,
            None if rank == than else answer if rank < than else other,
        )
        for (answer, rank), (other, than) in combinations(ranked, 2)
    ]


def _pairs(raters: Sequence[str], units: Sequence[Sequence[str | None]]) -> list[Table]:
    found = []
    for one, other in combinations(range(len(raters)), 2):
        both = [[unit[one], unit[other]] for unit in units]
        if any(None not in pair for pair in both):
            between = agreement(both)
            names = [raters[one], raters[other]]
            found.append({"raters": names, "units": between.units, **_shown(between)})
    return found


def _shown(found: Agreement) -> Table:
    share = found.share
    return {
        "share": {"value": share.value, "interval": [share.low, share.high]},
        "kappa": None if found.kappa is None else _measure(found.kappa),
    }


def _measure(found: Measure) -> Table:
    interval = None if found.low is None else [found.low, found.high]
    return {"value": found.value, "interval": interval}
