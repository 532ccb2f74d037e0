"""The verbs list, show, remove and lineage: what they answer with `--json`."""

from __future__ import annotations

from langwright.errors import NotFound
from langwright.store.store import Shown, Store


def artifacts(kind: str | None = None, *, store: Store | None = None) -> Shown:
    """`langwright list`: all artifacts, or those of one kind, and all runs (kind `run`)."""
    store = store or Store()
    return {
        "artifacts": [artifact.public() for artifact in store.artifacts(kind)],
        "runs": [run.public() for run in store.runs() if kind in (None, "run")],
    }


def show(name: str, *, store: Store | None = None) -> Shown:
    """`langwright show`: the artifact and the run of that name. Raises `NotFound`."""
    store = store or Store()
    runs = [run.public() for run in store.runs() if run.name == name]
    try:
        return {"artifacts": [store.get(name).public()], "runs": runs}
    except NotFound:
        if not runs:
            raise
        return {"artifacts": [], "runs": runs}


def remove(name: str, *, store: Store | None = None) -> Shown:
    """`langwright remove`: what was removed. Raises `NotFound`, `Busy` (see `Store.remove`)."""
    return (store or Store()).remove(name)


def lineage(name: str, *, store: Store | None = None) -> Shown:
    """`langwright lineage`: `{"nodes", "edges"}` (see `Store.lineage`). Raises `NotFound`."""
    return (store or Store()).lineage(name)
