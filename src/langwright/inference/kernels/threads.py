"""The threads that share a step: the caller's own, and some that wait for one."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from langwright.inference.kernels.kinds import Shape, Work

_OPEN = 0
"""The place of the gate that says whether a step is running."""


class Crew:
    """Runs a step on several threads, one step at a time.

    A worker that wakes up late finds the gate shut and goes back to sleep: nobody waits for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gate = np.zeros(24, np.int64)
        self.bells: list[threading.Semaphore] = []
        self._args: tuple[Any, ...] = ()

    def run(self, shape: Shape, work: Work, num_threads: int) -> None:
        from langwright.inference.kernels.compiled import run_step

        with self._lock:
            while len(self.bells) < num_threads - 1:
                self.hire()
            self._args = shape, work
            self._gate[_OPEN] = 1
            for bell in self.bells[: num_threads - 1]:
                bell.release()
            run_step(shape, work, self._gate.ctypes.data, 0)

    def hire(self) -> None:
        """One more worker, who waits for its bell."""
        bell = threading.Semaphore(0)
        self.bells.append(bell)
        number = len(self.bells)
        name = f"langwright-decode-{number}"
        threading.Thread(target=self._work, args=(bell, number), name=name, daemon=True).start()

    def _work(self, bell: threading.Semaphore, number: int) -> None:
        from langwright.inference.kernels.compiled import run_step

        while True:
            bell.acquire()
            run_step(*self._args, self._gate.ctypes.data, number)


CREW = Crew()


def _anew() -> None:
    """A forked process has none of the threads."""
    CREW.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_anew)
