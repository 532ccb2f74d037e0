"""Where cleaning runs: the processes of this machine, or Ray Data on a cluster."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Self, TypeVar

from langwright.errors import LangwrightError, Unsupported

Task = TypeVar("Task")
Result = TypeVar("Result")


class LocalEngine:
    """So many processes of this machine; one means this very process."""

    def __init__(self, processes: int | None = None) -> None:
        self.processes = processes or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.processes > 1:
            # Not forked: a fork copies locks that other threads hold, and hangs on them.
            context = get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, context, _leave_interrupts)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Results in the order of the tasks; twice as many in flight as there are processes."""
        if self._pool is None:
            yield from map(function, tasks)
            return
        flying: deque[Future[Result]] = deque()
        for task in tasks:
            flying.append(self._pool.submit(function, task))
            if len(flying) >= 2 * self.processes:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; the first one decides what becomes of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class RayEngine:
    """Ray Data: the cluster that `RAY_ADDRESS` names, else one started on this machine.

    The store's folder must be on storage that every node of the cluster sees.
    """

    def __enter__(self) -> Self:
        try:
            import ray
        except ImportError:
            raise Unsupported(
                "The engine 'ray' needs Ray, which is not installed.",
                remedy="Install it: pip install 'langwright[ray]'.",
            ) from None
        # Its usage reports would call an address outside, which nobody asked for.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().execution_options.preserve_order = True
        ray.data.DataContext.get_current().enable_progress_bars = False
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        import ray

        rows = [{"task": task} for task in tasks]
        if not rows:
            return
        data = ray.data.from_items(rows, override_num_blocks=len(rows))
        try:
            for row in data.map(_Call(function)).iter_rows():
                yield row["result"]
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, LangwrightError):
                raise error.cause from None
            raise


class _Call:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self.__name__ = getattr(function, "__name__", "work")  # Ray asks for one

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"result": self._function(row["task"])}
