"""The one bridge between back ends, which are synchronous, and what is asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from langwright.backend.event import Event
from langwright.backend.protocol import Backend
from langwright.backend.request import Request
from langwright.errors import Busy

Found = TypeVar("Found")


class Bridge:
    """Lets a back end answer up to `at_once` calls in threads of its own; further ones wait, up to
    `waiting` of them, first come, first served."""

    def __init__(self, backend: Backend, at_once: int, waiting: int) -> None:
        self.backend = backend
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=f"answers {backend.name}")
        self._free = asyncio.Semaphore(at_once)
        self._most = waiting
        self.waiting = self.running = 0

    async def call(self, function: Callable[[], Found]) -> Found:
        """What the function gives, computed in a thread; it is computed to its end, whoever waits.
        Raises `Busy` where too many wait already."""
        await self._turn()
        return await asyncio.shield(self._start(function))

    async def events(
        self, requests: Sequence[Request], at_turn: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[Event]:
        """The events of `Backend.generate`; `at_turn` is called when the wait is over. Who leaves
        before the end (`contextlib.aclosing`) aborts the requests; who is slow to take events holds
        up nobody else. Raises `Busy` where too many wait already."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        gone = threading.Event()

        def work() -> None:
            last: Exception | None = None
            try:
                for event in () if gone.is_set() else self.backend.generate(requests):
                    if gone.is_set():
                        break
                    loop.call_soon_threadsafe(queue.put_nowait, event)
            except Exception as error:
                last = error
            loop.call_soon_threadsafe(queue.put_nowait, last)

        await self._turn()
        at_turn()
        self._start(work)
        ended = False
        try:
            while not ended:
                event = await queue.get()
                ended = event is None or isinstance(event, Exception)
                if isinstance(event, Exception):
                    raise event
                if event is not None:
                    yield event
        finally:
            gone.set()
            if not ended:
                for request in requests:
                    self.backend.abort(request.id)

    async def _turn(self) -> None:
        if self.waiting >= self._most and self._free.locked():
            raise Busy(
                f"'{self.backend.name}' is answering {self.running} calls, and {self.waiting} "
                "more wait.",
                remedy="Try again later.",
            )
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1

    def _start(self, function: Callable[[], Found]) -> asyncio.Future[Found]:
        done = asyncio.get_running_loop().run_in_executor(self._threads, function)
        done.add_done_callback(self._over)
        return done

    def _over(self, _: object) -> None:
        self.running -= 1
        self._free.release()

    def close(self) -> None:
        """Take no further calls."""
        self._threads.shutdown(wait=False, cancel_futures=True)
