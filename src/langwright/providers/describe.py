"""`langwright describe`: what a model is, its weights unread."""

from __future__ import annotations

from typing import Any

from langwright.errors import LangwrightError
from langwright.providers.open import places_of
from langwright.store import Store


def describe(model: str, *, store: Store | None = None) -> dict[str, Any]:
    """Layers, parameters by part, memory by precision, FLOPs per token (with attention), cache
    bytes per token, licence and lineage of `model` (named as in `load`), its weights unread.

    `lineage` lists what it was made from, nearest first; of a bare path nothing is known. With an
    adapter `adapter` has its settings and the number of its parameters.
    """
    store = store or Store()
    place, added = places_of(model, store)
    from langwright.model import load_adapter  # here, as in `open`
    from langwright.model.description import describe_path

    told: dict[str, Any] = {"model": place.name, **describe_path(place.path)}
    if added is not None:
        adapter = load_adapter(added.path)
        tensors = (one for part in adapter.parts.values() for one in part.values())
        count = sum(one.numel() for one in tensors)
        told["adapter"] = {"name": added.name, "parameters": count, **adapter.settings.model_dump()}
    licence, nodes = None, []
    try:
        root, *nodes = store.lineage(place.name.partition("@")[0])["nodes"]
        licence = root["licence"]
    except LangwrightError:  # not of the store
        pass
    told["licence"] = licence
    told["lineage"] = [{key: node[key] for key in ("name", "kind", "digest")} for node in nodes]
    return told
