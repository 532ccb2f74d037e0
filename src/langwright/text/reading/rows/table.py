"""Tables of comma- or tab-separated values: a document in each row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO, Any

from langwright.errors import BadInput
from langwright.text.document import Document
from langwright.text.reading import input as bounds
from langwright.text.reading.input import Input
from langwright.text.reading.rows.row import FIELDS, documents, text_column


def read(file: Input, delimiter: str) -> Iterator[Document]:
    """The documents of the rows below the header; a quoted field may hold new lines."""
    return documents(file, _rows(file, delimiter))


def _rows(file: Input, delimiter: str) -> Iterator[tuple[int, Any]]:
    # The limit is one for the whole process, and only ever raised; `_Lines` bounds a row.
    csv.field_size_limit(max(csv.field_size_limit(), bounds.MAX_DOCUMENT_BYTES))
    with file.open() as stream:
        lines = _Lines(file, stream)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                return
            text = text_column(file, header)
            for number, cells in enumerate(reader, start=1):
                lines.row_ends()
                if not cells:  # an empty line
                    continue
                if len(cells) == len(header):
                    row = dict(zip(header, cells, strict=True))
                    # An empty cell is none; without its text a row is one to be counted.
                    known = {key: row[key] for key in FIELDS if row.get(key) and key != "content"}
                    yield number, {**known, "text": row[text]}
                else:
                    what = f"has {len(cells)} fields, the header {len(header)}"
                    yield number, _wrong(f"{file}, row {number} {what}")
        except csv.Error as error:
            raise _wrong(f"{file}, line {reader.line_num}: {error}") from None


class _Lines:
    """The lines of a file, decoded; those of one row together within the bound of a document."""

    def __init__(self, file: Input, stream: IO[bytes]) -> None:
        self._file, self._stream, self._offset, self._row = file, stream, 0, 0

    def __iter__(self) -> Iterator[str]:
        while raw := self._stream.readline(bounds.MAX_DOCUMENT_BYTES + 1):
            if self._offset + len(raw) - self._row > bounds.MAX_DOCUMENT_BYTES:
                raise self._file.too_long(self._row)
            line = self._file.decode(raw, self._offset)
            self._offset += len(raw)
            yield line

    def row_ends(self) -> None:
        self._row = self._offset


def _wrong(what: str) -> BadInput:
    return BadInput(f"{what}.", remedy="Correct it, or write the table anew with a csv library.")
