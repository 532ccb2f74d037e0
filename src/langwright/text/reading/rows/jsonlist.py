"""A JSON file: a list of documents, or one of them."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from langwright.errors import BadInput
from langwright.text.document import Document
from langwright.text.reading import input as bounds
from langwright.text.reading.input import Input
from langwright.text.reading.rows.row import documents

_CHUNK = 2**16
_BLANK = re.compile(r"[ \t\r\n]*")


def read(file: Input) -> Iterator[Document]:
    """The documents of the list's objects, of which one at a time is held in memory."""
    yield from documents(file, rows(file), "object")


def rows(file: Input, example: str = '{"text": "…"}') -> Iterator[tuple[int, Any]]:
    """The numbered objects, one at a time in memory; an error names the `example` of one."""
    with file.open() as stream:
        yield from _Scanner(file, stream, example).rows()


class _Scanner:
    """The text ahead: `_buffer` from `_at` on, filled up from the stream as needed."""

    def __init__(self, file: Input, stream: IO[bytes], example: str) -> None:
        self._file, self._stream, self._example = file, stream, example
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer, self._at, self._ended = "", 0, False
        self._offset = 0
        self._decoder_json = json.JSONDecoder()

    def rows(self) -> Iterator[tuple[int, Any]]:
        if not (first := self._peek()):
            return
        if first != "[":
            yield 1, self._object(1)
        else:
            self._at += 1
            yield from self._list()
        if self._peek():
            self._wrong("something follows its end")

    def _list(self) -> Iterator[tuple[int, Any]]:
        number = 0
        if self._peek() != "]":
            while True:
                number += 1
                yield number, self._object(number)
                if (mark := self._peek()) != ",":
                    break
                self._at += 1
            if mark != "]":
                self._wrong(f"after object {number} stands neither a comma nor the list's end")
        self._at += 1

    def _object(self, number: int) -> Any:
        if self._peek() != "{":
            self._wrong(f"object {number} is not a JSON object")
        while True:
            try:
                row, self._at = self._decoder_json.raw_decode(self._buffer, self._at)
                return row
            except (ValueError, RecursionError) as error:
                ahead = len(self._buffer) - self._at
                if isinstance(error, RecursionError) or self._ended:
                    self._wrong(f"object {number} is not JSON ({error})")
                if ahead > bounds.MAX_DOCUMENT_BYTES:
                    raise BadInput(
                        f"{self._file}, object {number}: it is longer than"
                        f" {bounds.MAX_DOCUMENT_BYTES:,} bytes, or not JSON.",
                        remedy="Cut it into several documents.",
                    ) from None
                # Twice as much each time, so that a long object is parsed in linear time.
                self._fill(max(ahead, _CHUNK))

    def _peek(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            self._at = _BLANK.match(self._buffer, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if self._ended:
                return ""
            self._fill(_CHUNK)

    def _fill(self, size: int) -> None:
        raw = self._stream.read(size)
        self._file.refuse_binary(raw, self._offset)
        self._ended = not raw
        begun = len(self._decoder.getstate()[0])
        try:
            more = self._decoder.decode(raw, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._file.not_utf8(error, self._offset - begun) from None
        self._offset += len(raw)
        self._buffer, self._at = self._buffer[self._at :] + more, 0

    def _wrong(self, what: str) -> NoReturn:
        raise BadInput(
            f"{self._file}: {what}.",
            remedy=f"Write a list of objects [{self._example}, …]; one to a line is .jsonl.",
        )
