"""The next step's batches, made while this one is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """What `make` gives for numbers that mostly follow each other; one thread calls it. What is not
    `foreknown` is made when it is asked for."""

    def __init__(self, make: Callable[[int], T], *, foreknown: bool = True) -> None:
        self._make, self._foreknown = make, foreknown
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._next: tuple[int, Future[T]] | None = None

    def get(self, number: int) -> T:
        """make(number), begun earlier if the number is the one after the last."""
        if not self._foreknown:
            return self._make(number)
        if self._next is not None and self._next[0] == number:
            future = self._next[1]
        else:
            future = self._thread.submit(self._make, number)
        self._next = number + 1, self._thread.submit(self._make, number + 1)
        return future.result()

    def close(self) -> None:
        """End the thread; what it makes at the moment is lost."""
        self._thread.shutdown(cancel_futures=True)
