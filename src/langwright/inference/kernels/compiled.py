"""The step as Numba compiles it, kept on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import platformdirs

from langwright.inference.kernels.jit import INSTALLED, njit, numba
from langwright.inference.kernels.machine import fetch_add, load, pause, store
from langwright.inference.kernels.step import run

_OPEN, _INSIDE = 0, 64


@njit(nogil=True)
def run_step(
    kind: Any, head: Any, cache: Any, shape: Any, work: Any, gate: int, thread: int
) -> None:
    """One thread's part in a step. Thread 0 leaves last, when all is finished, and shuts the gate;
    another that comes after that leaves at once."""
    fetch_add(gate + _INSIDE, 1)
    if load(gate + _OPEN):
        run(kind, head, cache, shape, work, thread)
    if thread == 0:
        store(gate + _OPEN, 0)
        while load(gate + _INSIDE) > 1:
            pause()
    fetch_add(gate + _INSIDE, -1)


def _keep_on_disk() -> None:
    """Numba looks only at the file of a function itself: the folder's name says the rest."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    folder = Path(platformdirs.user_cache_dir("langwright")) / "kernels" / digest.hexdigest()[:16]
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        run_step.enable_caching()
    finally:
        numba.config.CACHE_DIR = before


def signature(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The types of a step's arguments, without gate and thread."""
    return (*(numba.typeof(one) for one in given), numba.int64, numba.int64)


if INSTALLED:
    _keep_on_disk()
