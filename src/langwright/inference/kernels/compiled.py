"""The step as Numba compiles it."""

from __future__ import annotations

from typing import Any

from langwright.inference.kernels.disk import kept_on_disk
from langwright.inference.kernels.jit import INSTALLED, njit, numba
from langwright.inference.kernels.kinds import Shape, Work
from langwright.inference.kernels.machine import fetch_add, load, relax, store
from langwright.inference.kernels.step import run

_RUNNING, _INSIDE = 0, 64
"""Places in the gate: the number of the step that is running, or 0, and how many are inside."""


@njit(nogil=True)
def run_step(shape: Any, work: Any, gate: int, count: int, thread: int) -> None:
    """One thread's part in the step of this number. Thread 0 leaves last, when all is finished; who
    comes after that leaves at once."""
    fetch_add(gate + _INSIDE, 1)
    if load(gate + _RUNNING) == count:
        run(shape, work, thread)
    if thread == 0:
        store(gate + _RUNNING, 0)
        spins = 0
        while load(gate + _INSIDE) > 1:
            spins = relax(spins)
    fetch_add(gate + _INSIDE, -1)


def compile_step(shape: Shape, work: Work) -> None:
    """Compile it for arguments of these types, or load it from the disk."""
    given = (numba.typeof(shape), numba.typeof(work), numba.int64, numba.int64, numba.int64)
    if given not in run_step.overloads:
        run_step.compile(given)


if INSTALLED:
    with kept_on_disk():
        run_step.enable_caching()
