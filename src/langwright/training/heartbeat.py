"""A step that does not end, or a loader that gives nothing: found by a thread beside."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from types import TracebackType
from typing import Self

from langwright.progress import say
from langwright.store import Run
from langwright.training.incident import write_record

SLOWER = 10
"""A step is stalled when it takes so many times the median; the first, in which torch may compile,
so many times `seconds`."""
STALLED = 75
"""Exit code (EX_TEMPFAIL) of a rank that leaves for its launcher to start all of them again."""


class Heartbeat:
    """Watches a run's steps: one that takes longer than `SLOWER` times the median of the last
    hundred, and longer than `seconds` (0: off), is reported once, with the stacks of all threads
    in `incidents/stall-STEP.json` (of each rank in its own).

    It ends nothing: a person may want to look. Under `torchrun` (RANK is set) nobody looks, and
    the other ranks wait: the process leaves with `STALLED`, and the launcher starts them all again
    from the last checkpoint.
    """

    def __init__(self, run: Run, seconds: float) -> None:
        self._run, self._seconds = run, seconds
        self._durations: deque[float] = deque(maxlen=100)
        self._begun: tuple[int, float] | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._seconds:
            self._thread.join()

    @contextmanager
    def step(self, step: int) -> Iterator[None]:
        """The body is the step that is watched."""
        started = time.monotonic()
        self._begun = (step, started)
        try:
            yield
        finally:
            self._begun = None
            self._durations.append(time.monotonic() - started)

    def limit(self) -> float:
        """Seconds that the step may take."""
        if not self._durations:
            return SLOWER * self._seconds
        return max(SLOWER * median(self._durations), self._seconds)

    def _watch(self) -> None:
        pause, reported = min(1.0, self._seconds / 10), None
        before = time.monotonic()
        while not self._done.wait(pause):
            now, begun = time.monotonic(), self._begun
            if now - before > 2 * pause + 1:
                # This thread stood still as well: the whole process did (a laptop's sleep).
                if begun is not None and begun == self._begun:
                    self._begun = (begun[0], now)
            elif begun is not None and begun[0] != reported and now - begun[1] > self.limit():
                reported = begun[0]
                self._report(reported, now - begun[1])
            before = now

    def _report(self, step: int, seconds: float) -> None:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        stacks = {
            f"{names.get(ident, 'unknown')} ({ident})": traceback.format_stack(frame)
            for ident, frame in sys._current_frames().items()
        }
        values = {"step": step, "seconds": seconds, "limit": self.limit(), "threads": stacks}
        rank = os.environ.get("RANK")
        name = f"stall-{step:08d}" + (f"-rank-{rank}" if rank else "") + ".json"
        path = write_record(self._run, name, json.dumps(values, indent=1))
        say(f"Step {step} has taken {seconds:.0f} s. What every thread does is in {path}.")
        if rank:
            os._exit(STALLED)
