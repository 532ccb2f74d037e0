"""`langwright describe`: what a model is, its weights unread."""

from __future__ import annotations

from typing import Any

from langwright.errors import LangwrightError
from langwright.providers.open import place_of
from langwright.store import Store


def describe(model: str, *, store: Store | None = None) -> dict[str, Any]:
    """Layers, parameters by part, memory by precision, FLOPs per token (with attention), cache
    bytes per token, licence and lineage of `model` (named as in `load`), its weights unread.

    `lineage` lists what it was made from, nearest first; of a bare path nothing is known.
    """
    store = store or Store()
    place = place_of(model, store, ("model",))
    from langwright.model.description import describe_path  # here, as in `open`

    told: dict[str, Any] = {"model": place.name, **describe_path(place.path)}
    licence, nodes = None, []
    try:
        root, *nodes = store.lineage(model.partition("@")[0])["nodes"]
        licence = root["licence"]
    except LangwrightError:  # not of the store
        pass
    told["licence"] = licence
    told["lineage"] = [{key: node[key] for key in ("name", "kind", "digest")} for node in nodes]
    return told
