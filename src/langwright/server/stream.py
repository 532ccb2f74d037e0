"""An answer that is sent as it comes, to a caller who may leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from langwright.backend import Event
from langwright.wire.failure import Failure, failure_of
from langwright.wire.reply import Reply

Found = TypeVar("Found")

PATIENCE_S = 15.0
"""So long a stream is silent before a sign of life is sent; and so long an error may take to come
and still be told by the status."""
SLOW_S = 60.0
"""A caller who takes no byte for so long has left."""


class _Left(Exception):
    """Nobody takes what is sent."""


async def until_gone(receive: Receive, work: Coroutine[Any, Any, Found]) -> Found | None:
    """What the work gives; None, and the work is cancelled, where the caller leaves first."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return None
    finally:
        for one in (working, leaving):
            one.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """The answer that `reply` writes of `events`. `start` waits for the first, so that what fails
    at once still has its own status; `failed` is told what fails later."""

    def __init__(
        self,
        reply: Reply,
        events: AsyncIterator[Event],
        keep_alive: bytes,
        headers: dict[str, str],
        failed: Callable[[Failure, Exception], None],
    ) -> None:
        self.status_code, self.background = 200, None
        self.media_type = reply.media_type
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no", **headers})
        self._reply, self._events, self._keep_alive = reply, events, keep_alive
        self._failed = failed
        self._next: asyncio.Future[Event] | None = None
        self._stack = AsyncExitStack()

    def own(self, stack: AsyncExitStack) -> None:
        """Close `stack` at the end."""
        self._stack = stack

    async def start(self) -> bool:
        """Wait for the first event. Raises what it fails for."""
        self._next = asyncio.ensure_future(anext(self._events))
        try:
            await asyncio.wait({self._next}, timeout=PATIENCE_S)
        except BaseException:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
            raise
        if self._next.done():
            self._next.result()
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await until_gone(receive, self._write(send))
        except _Left:
            pass
        finally:
            if self._next is not None:
                self._next.cancel()
                await asyncio.gather(self._next, return_exceptions=True)
            await self._stack.aclose()

    async def _write(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await _sent(send(start))
        await self._send(send, self._reply.begin())
        try:
            while True:
                assert self._next is not None
                done, _ = await asyncio.wait({self._next}, timeout=PATIENCE_S)
                if not done:
                    await self._send(send, self._keep_alive)
                    continue
                try:
                    event = self._next.result()
                except StopAsyncIteration:
                    break
                self._next = asyncio.ensure_future(anext(self._events))
                await self._send(send, self._reply.feed(event))
            last = self._reply.end()
        except _Left:
            raise
        except Exception as error:
            failure = failure_of(error)
            self._failed(failure, error)
            last = self._reply.fail(failure)
        await self._send(send, last, more=False)

    async def _send(self, send: Send, body: bytes, *, more: bool = True) -> None:
        if not body and more:
            return
        await _sent(send({"type": "http.response.body", "body": body, "more_body": more}))


async def _sent(sending: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(SLOW_S):
            await sending
    except OSError as error:  # a TimeoutError is one
        raise _Left from error
