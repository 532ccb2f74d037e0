"""A draft: the folder of an artifact that is still being written."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from langwright.store.artifact import Artifact


@dataclass
class Draft:
    """What `Store.writing` yields: write into `folder`; `artifact` is there after the block."""

    _place: Path
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str | None = None
    _artifact: Artifact | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.scratch.mkdir()

    @property
    def folder(self) -> Path:
        """What lies here in the end is the artifact."""
        return self._place / "content"

    @property
    def scratch(self) -> Path:
        """Room on the same disk for what need not stay."""
        return self._place / "scratch"

    @property
    def artifact(self) -> Artifact:
        if self._artifact is None:
            raise RuntimeError("a draft becomes an artifact when its `with` block has ended")
        return self._artifact


@contextmanager
def aside_folder(tmp: Path, guard: FileLock) -> Iterator[Path]:
    """A new folder under `tmp`, gone after the block.

    Its owner holds a lock inside it for as long as it lives, so that `sweep` tells the folder of
    a dead process from one in use, whatever became of the process's number since.
    """
    tmp.mkdir(parents=True, exist_ok=True)
    place = tmp / f"{os.getpid()}-{secrets.token_hex(4)}"
    held = FileLock(place / "lock")
    try:
        with guard:  # no sweep comes between making the folder and taking its lock,
            place.mkdir()
            held.acquire()
        yield place
    finally:
        with guard:  # nor between releasing the lock and removing the folder
            held.release()
            shutil.rmtree(place, ignore_errors=True)


def sweep(place: Path) -> None:
    """Remove a draft's place if its owner is dead; the caller holds the store's lock."""
    with suppress(Timeout):
        with FileLock(place / "lock", timeout=0):
            pass
        shutil.rmtree(place)
