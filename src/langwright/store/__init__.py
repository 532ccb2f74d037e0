"""Every artifact and run on this machine: pull, list, show, remove, lineage."""

from __future__ import annotations

from langwright.store.artifact import Artifact
from langwright.store.atomic import write_atomic
from langwright.store.home import home
from langwright.store.pull import pull
from langwright.store.run import Run
from langwright.store.store import Shown, Store
from langwright.store.verbs import artifacts, lineage, remove, show

__all__ = [
    "Artifact",
    "Run",
    "Shown",
    "Store",
    "artifacts",
    "home",
    "lineage",
    "pull",
    "remove",
    "show",
    "write_atomic",
]
