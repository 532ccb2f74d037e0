"""JSON lines: a document on each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from langwright.errors import BadInput
from langwright.text.document import Document
from langwright.text.reading import input as bounds
from langwright.text.reading.input import Input
from langwright.text.reading.rows.row import documents


def read(file: Input) -> Iterator[Document]:
    """The documents of the lines, which are read one at a time and end at LF alone."""
    return documents(file, rows(file), "line")


def rows(file: Input, example: str = '{"text": "…"}') -> Iterator[tuple[int, Any]]:
    """The numbered objects, blank lines left out, with a `BadInput` for a line that is none; it
    names the `example`."""
    offset, number = 0, 0
    with file.open() as stream:
        while raw := stream.readline(bounds.MAX_DOCUMENT_BYTES + 1):
            number += 1
            if len(raw) > bounds.MAX_DOCUMENT_BYTES:
                raise file.too_long(offset)
            try:
                line = file.decode(raw, offset)
                if line.strip():
                    yield number, _parse(file, number, line, example)
            except BadInput as error:
                yield number, error
            offset += len(raw)


def _parse(file: Input, number: int, line: str, example: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{file}, line {number}: this is not JSON ({error}).",
            remedy=f"Write each line as {example}.",
        ) from None
