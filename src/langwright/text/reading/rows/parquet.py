"""Parquet tables: a document in each row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langwright.errors import BadInput, Unsupported
from langwright.text.document import Document
from langwright.text.reading.input import Input
from langwright.text.reading.rows.row import FIELDS, documents, text_column

_BATCH_ROWS = 64


def read(file: Input) -> Iterator[Document]:
    """The documents of the rows, read in small batches; a null is a row without text."""
    return documents(file, _rows(file))


def _rows(file: Input) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Unsupported(
            "Reading Parquet needs pyarrow, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`.",
        ) from None
    try:
        # Pages are taken from the file as they are needed, not whole row groups ahead.
        with parquet.ParquetFile(file.path, buffer_size=2**20, pre_buffer=False) as table:
            names = table.schema_arrow.names
            text = text_column(file, names)
            columns = [name for name in FIELDS if name in names and name != "content"]
            number = 0
            for batch in table.iter_batches(_BATCH_ROWS, columns=list({*columns, text})):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {**row, text: "" if row[text] is None else row[text]}
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(
            f"{file} cannot be read as Parquet: {error}.", remedy="Get a sound copy of it."
        ) from None
