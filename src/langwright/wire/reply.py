"""How an answer is sent, whatever the dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langwright.backend import Event
from langwright.wire.failure import Failure


@dataclass(frozen=True)
class Envelope:
    """What stands around an answer: its `id` (without a dialect's prefix), when it began (seconds
    since 1970), the exact name of the `model`, a `fingerprint` that tells it from others, and
    `piece`, the bytes of a token."""

    id: str
    created: int
    model: str
    piece: Callable[[int], bytes]
    fingerprint: str | None = None


class Reply(Protocol):
    """Writes one answer: as a stream by `begin`, `feed` with each event, and `end` (or `fail`, at
    any time); or at once, as the JSON that `whole` makes of all events."""

    @property
    def media_type(self) -> str: ...

    def begin(self) -> bytes: ...

    def feed(self, event: Event) -> bytes: ...

    def end(self) -> bytes: ...

    def fail(self, failure: Failure) -> bytes: ...

    def whole(self, events: Sequence[Event]) -> dict[str, Any]: ...
