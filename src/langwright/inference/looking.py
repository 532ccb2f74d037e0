"""Which heads look from one token of a text to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langwright.errors import BadInput
from langwright.inference.glassbox import Trace
from langwright.inference.neighbours import spelt


@dataclass(frozen=True)
class Head:
    """What one head gives to each of the keys, and to the first token; where it looks most."""

    layer: int
    head: int
    weights: list[float]
    first: float
    strongest: int


@dataclass(frozen=True)
class Looks:
    """From the token at `query` to those at `keys` (positions): all heads, those that look most at
    the first key first, beside what keeps one from reading too much into it.

    `mean` and `mean_first` are over all heads, `uniform` is the weight of each of the `visible`
    tokens if all were looked at alike. Many heads rest on the first token whatever the text says
    (attention sinks, Xiao et al. 2023): `first_strongest` is the share that looks most at it.
    `unread` are the positions that the query cannot have read, since they come later.
    """

    query: int
    keys: list[int]
    visible: int
    unread: list[int]
    uniform: float
    mean: list[float]
    mean_first: float
    first_strongest: float
    heads: list[Head]


def looks_at(trace: Trace, query: int, keys: Sequence[int]) -> Looks:
    heads = []
    for layer in range(len(trace.mixing)):
        for head, row in enumerate(trace.attention(layer)[:, query]):
            weights = [float(row[key]) for key in keys]
            heads.append(Head(layer, head, weights, float(row[0]), int(row.argmax())))
    heads.sort(key=lambda one: -one.weights[0])
    count = len(heads)
    visible = max(int(one.mask_TC[query].sum()) for one in trace.mixing)  # windows see less
    causal = not any(bool(one.mask_TC.triu(1).any()) for one in trace.mixing)
    return Looks(
        query=query,
        keys=list(keys),
        visible=visible,
        unread=list(range(query + 1, len(trace.ids))) if causal else [],
        uniform=1 / visible,
        mean=[sum(one.weights[n] for one in heads) / count for n in range(len(keys))],
        mean_first=sum(one.first for one in heads) / count,
        first_strongest=sum(one.strongest == 0 for one in heads) / count,
        heads=heads,
    )


def position_of(pieces: Sequence[bytes], wanted: str | int) -> int:
    """Where a token of the text stands: `wanted` is its position, or its text, with or without the
    blank before it. Raises `BadInput` where it is not there exactly once."""
    if isinstance(wanted, int):
        if 0 <= wanted < len(pieces):
            return wanted
        raise BadInput(
            f"There is no position {wanted}: the text has {len(pieces)} tokens.",
            remedy=f"Take one from 0 to {len(pieces) - 1}.",
        )
    exact = [at for at, piece in enumerate(pieces) if piece == wanted.encode()]
    word = wanted.strip().encode()
    found = exact or [at for at, piece in enumerate(pieces) if piece.strip() == word]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(map(str, found))
        raise BadInput(
            f"{wanted!r} stands in the text {len(found)} times.",
            remedy=f"Say which by its position: {places}.",
        )
    shown = " | ".join(map(spelt, pieces[:40])) + (" | …" if len(pieces) > 40 else "")
    raise BadInput(f"{wanted!r} is no token of the text.", remedy=f"Its tokens are {shown}.")
