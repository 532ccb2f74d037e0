"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

MEDIA_TYPE = "text/event-stream"
DONE = b"data: [DONE]\n\n"
"""What ends a stream in OpenAI's dialect."""
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, for lines that are cut when nothing comes."""


def dumps(value: Any) -> bytes:
    """JSON of one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def message(value: Any, event: str | None = None) -> bytes:
    """One message, of the type `event` where that is given."""
    named = f"event: {event}\n".encode() if event else b""
    return named + b"data: " + dumps(value) + b"\n\n"


class Message(NamedTuple):
    event: str
    data: str


class Messages:
    """Feed bytes as they come, get the messages that are whole."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._event, self._data = "", list[str]()

    def feed(self, raw: bytes) -> Iterator[Message]:
        self._held += self._decoder.decode(raw)
        # A \r at the end may be half of a \r\n.
        whole = self._held.replace("\r\n", "\n")
        *lines, self._held = whole.split("\n")
        for line in lines:
            line = line.rstrip("\r")
            if not line:
                if self._data:
                    yield Message(self._event, "\n".join(self._data))
                self._event, self._data = "", []
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                self._data.append(value)
            elif name == "event":
                self._event = value
