"""The threads that share a step: the caller's own, and some that wait for one."""

from __future__ import annotations

import os
import threading

import numpy as np

from langwright.inference.kernels.kinds import Shape, Work


class Crew:
    """Runs a step on several threads, one step at a time.

    Each step has a number, and the gate shows that of the step that is running. A worker that wakes
    up late finds another number or none and goes back to sleep: nobody waits for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gate = np.zeros(16, np.int64)  # two numbers, on cache lines of their own
        self.bells: list[threading.Semaphore] = []
        self._current: tuple[Shape, Work, int] | None = None
        self._count = 0

    def run(self, shape: Shape, work: Work) -> None:
        """Returns when the step is finished, and no worker has to do with it any more."""
        from langwright.inference.kernels.compiled import run_step

        with self._lock:
            while len(self.bells) < work.num_threads - 1:
                self.hire()
            self._count += 1
            self._current = shape, work, self._count
            self._gate[0] = self._count
            for bell in self.bells[: work.num_threads - 1]:
                bell.release()
            run_step(shape, work, self._gate.ctypes.data, self._count, 0)

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
            assert self._current is not None, "a bell is rung for a step"
            shape, work, count = self._current
            # It may be another step than the one that it was called for, with fewer threads.
            if number < work.num_threads:
                run_step(shape, work, self._gate.ctypes.data, count, number)


CREW = Crew()


def _anew() -> None:
    """A forked process has none of the threads."""
    CREW.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_anew)
