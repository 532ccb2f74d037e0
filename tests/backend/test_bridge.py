"""The bridge: what it tells the back end, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing

import pytest

from langwright.backend import Event, Request
from langwright.backend.bridge import Bridge


class Told:
    """Answers each request in two events, and writes down what it is told."""

    name = "told"

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.aborted: list[str] = []
        self._error = error

    def generate(self, requests: Sequence[Request]) -> Iterator[Event]:
        for one in requests:
            self.asked.append(one.id)
            yield Event(one.id, "a")
            if self._error is not None:
                raise self._error
            yield Event(one.id, "b", finish_reason="stop")

    def abort(self, request_id: str) -> None:
        self.aborted.append(request_id)


def texts(backend: Told, leave_after: int) -> list[str]:
    bridge = Bridge(backend, 1, 1)  # type: ignore[arg-type]

    async def taken() -> list[str]:
        found = []
        async with aclosing(bridge.events([Request(id="one", text="x")])) as events:
            async for event in events:
                found.append(event.text)
                if len(found) == leave_after:
                    break
        return found

    try:
        return asyncio.run(taken())
    finally:
        bridge.close()


def test_what_has_ended_is_not_aborted() -> None:
    backend = Told()
    assert texts(backend, leave_after=9) == ["a", "b"]
    assert backend.aborted == []


def test_who_leaves_before_the_end_aborts() -> None:
    backend = Told()
    assert texts(backend, leave_after=1) == ["a"]
    assert backend.aborted == ["one"]


def test_what_has_failed_is_not_aborted() -> None:
    backend = Told(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        texts(backend, leave_after=9)
    assert backend.aborted == []
