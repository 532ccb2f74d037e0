"""The events of several answers that are made in threads, as one iterator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from langwright.backend import Event

Emit = Callable[[Event], bool]
"""Takes an event; False says that nobody listens any more, and the answer should end."""

Job = Callable[[Emit], None]


def interleave(jobs: Sequence[Job], workers: int) -> Iterator[Event]:
    """Run `jobs`, up to `workers` at a time, and yield what they emit as it comes. The first error
    of a job is raised here. Returns, raises and closes when all that runs has ended."""
    events: SimpleQueue[Event | BaseException | None] = SimpleQueue()
    closed = threading.Event()

    def emit(event: Event) -> bool:
        events.put(event)
        return not closed.is_set()

    def work(job: Job) -> None:
        try:
            if not closed.is_set():
                job(emit)
            events.put(None)
        except BaseException as error:  # it is the listener's, whatever it is
            events.put(error)

    with ThreadPoolExecutor(max(1, min(workers, len(jobs)))) as pool:
        try:
            for job in jobs:
                pool.submit(work, job)
            left = len(jobs)
            while left:
                event = events.get()
                if event is None:
                    left -= 1
                elif isinstance(event, BaseException):
                    raise event
                else:
                    yield event
        finally:
            closed.set()
