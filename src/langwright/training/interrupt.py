"""Ctrl-C and SIGTERM during training: finish the step, save, then leave."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from langwright.progress import say


class Interrupt:
    """`asked` becomes true at the first signal; a second one ends the program at once, unless both
    are SIGTERM: a scheduler sends it to all processes, and the launcher passes its own on."""

    def __init__(self) -> None:
        self._first: int | None = None

    @property
    def asked(self) -> bool:
        return self._first is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._first == number == signal.SIGTERM:
            return
        if self.asked:
            raise KeyboardInterrupt
        self._first = number
        say("Stopping after this step; the work so far is saved. (Again: stop at once.)")


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Hold Ctrl-C and SIGTERM back until the loop looks. Only the main thread can."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, interrupt._handle) for number in numbers}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
