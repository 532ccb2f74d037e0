"""Progress on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)
"""Everything said to a person goes here, so that standard output holds results alone."""

LINE_EVERY_S = 15.0
Watcher = Callable[[float, float | None], None]
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(told: Watcher) -> Iterator[None]:
    """Within, also in threads that begin here with this context, each step of a bar is `told`: how
    much is done, and of how much (None: unknown)."""
    token = _watcher.set(told)
    try:
        yield
    finally:
        _watcher.reset(token)


@dataclass
class Bar:
    """A running task. `advance` moves it and may change the words shown beside it."""

    description: str
    total: float | None
    _progress: Progress | None
    _task: TaskID
    done: float = 0.0
    words: str = ""
    _started: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)

    def advance(self, amount: float = 1.0, words: str | None = None) -> None:
        self.done += amount
        if words is not None:
            self.words = words
        if (told := _watcher.get()) is not None:
            told(self.done, self.total)
        if self._progress is not None:
            self._progress.update(self._task, completed=self.done, words=self.words)
        elif time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            console.print(self.line(), soft_wrap=True, markup=False)

    def line(self) -> str:
        elapsed = time.monotonic() - self._started
        share = f" {100 * self.done / self.total:.0f}%" if self.total else ""
        left = ""
        if self.total and self.done:
            left = f", {elapsed / self.done * (self.total - self.done):.0f} s left"
        return f"{self.description}:{share} {self.words}{left}"


def leads() -> bool:
    """Whether this process speaks: of several that train together, the first one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def progress(description: str, total: float | None = None, start: float = 0.0) -> Iterator[Bar]:
    """Show work of `total` units (None: unknown), `start` of them already done."""
    if not console.is_terminal or not leads():
        yield Bar(description, total, None, TaskID(0), start)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=console, transient=False) as shown:
        task = shown.add_task(description, total=total, completed=int(start), words="")
        yield Bar(description, total, shown, task, start)


def say(text: str) -> None:
    """One line to the person at the terminal."""
    if leads():
        console.print(text, soft_wrap=True, markup=False)
