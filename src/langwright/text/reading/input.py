"""A file to be read: where it lies, what its documents' sources call it, its bytes unpacked."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from langwright.errors import BadInput
from langwright.text.reading.packed import PACKED_SUFFIXES, open_packed

MAX_DOCUMENT_BYTES = 2**27
"""One document is held in memory whole; more than this is a mistake or wants cutting first."""


@dataclass(frozen=True)
class Input:
    """`name` is how sources name the file; where `lenient`, bad rows are reported, not raised.
    `shape` is what a row should look like, for remedies."""

    path: Path
    name: str
    lenient: bool = False
    shape: str = '{"text": "…"}'

    def __str__(self) -> str:
        return str(self.path)

    @property
    def packed(self) -> bool:
        return self.path.suffix.lower() in PACKED_SUFFIXES

    def open(self) -> IO[bytes]:
        """Its bytes, unpacked where the file is compressed."""
        if self.packed:
            return open_packed(self.path)
        return cast(IO[bytes], self.path.open("rb"))

    def read_bytes(self) -> bytes:
        """All of them; raises `BadInput` where they are more than a document may have."""
        if not self.packed and self.path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise self.too_long(0)
        with self.open() as stream:
            raw = stream.read(MAX_DOCUMENT_BYTES + 1)
        if len(raw) > MAX_DOCUMENT_BYTES:
            raise self.too_long(0)
        return raw

    def decode(self, raw: bytes, offset: int) -> str:
        """`raw`, which begins at byte `offset`, from UTF-8."""
        mark = len(codecs.BOM_UTF8) if offset == 0 and raw.startswith(codecs.BOM_UTF8) else 0
        self.refuse_binary(raw, offset)
        try:
            return raw[mark:].decode()
        except UnicodeDecodeError as error:
            raise self.not_utf8(error, offset + mark) from None

    def refuse_binary(self, raw: bytes, offset: int = 0) -> None:
        if (nul := raw.find(0)) >= 0:
            raise BadInput(
                f"{self} is binary, not text: there is a NUL at byte {offset + nul}.",
                remedy="Remove it; or if it is text in UTF-16, convert it:"
                f" `iconv -f UTF-16 -t UTF-8 '{self}'`.",
            )

    def not_utf8(self, error: UnicodeDecodeError, offset: int) -> BadInput:
        return BadInput(
            f"{self} is not UTF-8: {error.reason} at byte {offset + error.start}.",
            remedy="Convert it from the encoding it is in, for example:"
            f" `iconv -f WINDOWS-1252 -t UTF-8 '{self}'`.",
        )

    def too_long(self, offset: int) -> BadInput:
        return BadInput(
            f"{self}: the document at byte {offset} is longer than {MAX_DOCUMENT_BYTES:,} bytes.",
            remedy="Cut it into several documents, for example with `split --line-bytes=512M`.",
        )
