"""How an answer is read, whatever the dialect."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, Protocol

from langwright.backend import Event, Usage
from langwright.errors import LangwrightError
from langwright.wire import sse

_WRONG = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)


class Reading(Protocol):
    """Reads one answer: as a stream by `feed` with bytes as they come, and `end`; or at once, by
    `whole`. Events have no token ids and no log-probabilities. Of an answer that is cut off `end`
    tells the reason `error`; where no usage is told, there is none.

    All raise `LangwrightError` for an error that is told, and for what cannot be read.
    """

    def feed(self, raw: bytes) -> Iterator[Event]: ...

    def end(self) -> Iterator[Event]: ...

    def whole(self, answer: Mapping[str, Any]) -> list[Event]: ...


def unreadable(why: object) -> LangwrightError:
    """An answer that is not of its dialect."""
    return LangwrightError(
        f"The answer cannot be read: {why}.",
        remedy="Check the address, and that the server speaks this format.",
    )


def sse_messages() -> Callable[[bytes], Iterator[str]]:
    """The data of server-sent events, from bytes as they come."""
    messages = sse.Messages()
    return lambda raw: (one.data for one in messages.feed(raw))


def json_lines() -> Callable[[bytes], Iterator[str]]:
    """Lines with something in them, from bytes as they come."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    held = ""

    def split(raw: bytes) -> Iterator[str]:
        nonlocal held
        *lines, held = (held + decoder.decode(raw)).split("\n")
        return (line for line in lines if line.strip())

    return split


class MessageReading:
    """A `Reading` of a stream of JSON objects. Of the answer `request_id` a dialect writes what one
    object says (`_message`), what is left when there are no more (`_rest`), and the whole
    (`_whole`)."""

    def __init__(self, request_id: str, split: Callable[[bytes], Iterator[str]]) -> None:
        self.request_id = request_id
        self._split = split

    def feed(self, raw: bytes) -> Iterator[Event]:
        for data in self._split(raw):
            yield from _checked(lambda data=data: self._message(self._parsed(data)))  # type: ignore[misc]

    def end(self) -> Iterator[Event]:
        yield from _checked(self._rest)

    def whole(self, answer: Mapping[str, Any]) -> list[Event]:
        return _checked(lambda: self._whole(answer))

    def _parsed(self, data: str) -> Any:
        found = json.loads(data)
        if not isinstance(found, dict):
            raise unreadable("a message is no JSON object")
        return found

    def _message(self, told: dict[str, Any]) -> Iterable[Event]:
        raise NotImplementedError

    def _rest(self) -> Iterable[Event]:
        raise NotImplementedError

    def _whole(self, answer: Mapping[str, Any]) -> Iterable[Event]:
        raise NotImplementedError

    def _broken(self, index: int = 0) -> Event:
        error = "The server broke off without saying why."
        return Event(self.request_id, finish_reason="error", index=index, error=error)


def shared(ends: Iterable[Event], usage: Usage | None) -> Iterator[Event]:
    """The last events of answers of which one usage is told: the first has drawn it all."""
    for number, event in enumerate(ends):
        drawn = usage and (usage if number == 0 else replace(usage, completion_tokens=0))
        yield replace(event, usage=drawn)


def _sound(event: Event) -> Event:
    """Raises `TypeError` where a server put something else in the place of a text or a number."""
    texts: list[object] = [event.text, event.thought]
    for call in event.calls:
        texts += [call.id, call.name, call.arguments]
    texts += [one for one in (event.stop, event.error) if one is not None]
    numbers: list[object] = [event.index]
    if event.usage is not None:
        numbers += [getattr(event.usage, one.name) for one in fields(event.usage)]
    if not all(isinstance(one, str) for one in texts):
        raise TypeError("a text is none")
    if not all(type(one) is int for one in numbers):
        raise TypeError("a number is none")
    return event


def _checked(read: Callable[[], Iterable[Event]]) -> list[Event]:
    try:
        return [_sound(event) for event in read()]
    except json.JSONDecodeError as error:
        raise unreadable(f"it is no JSON ({error.msg})") from None
    except _WRONG as error:
        raise unreadable(f"{type(error).__name__}: {error}") from None
