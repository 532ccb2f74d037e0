"""Parquet tables: a document in each row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from langwright.errors import BadInput, Unsupported
from langwright.text.document import Document
from langwright.text.reading import input as bounds
from langwright.text.reading.input import Input
from langwright.text.reading.rows.row import FIELDS, documents, text_column

_BATCH_ROWS = 64


def read(file: Input) -> Iterator[Document]:
    """The documents of the rows, read in small batches; a null is a row without text."""
    return documents(file, _rows(file))


def rows(file: Input) -> Iterator[tuple[int, Any]]:
    """All columns of the rows, numbered."""
    with _readable(file) as parquet, parquet.ParquetFile(file.path) as table:
        number = 0
        for batch in table.iter_batches(_BATCH_ROWS, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                yield number, row


def _rows(file: Input) -> Iterator[tuple[int, Any]]:
    with _readable(file) as parquet:
        with parquet.ParquetFile(file.path) as table:
            text, columns = _columns(file, table.schema_arrow)
        # Texts stay in their dictionary until they are taken: a few kilobytes of file could
        # otherwise say "the same 100 MB" in each row. Pages are read as they are needed.
        with parquet.ParquetFile(
            file.path, read_dictionary=columns, buffer_size=2**20, pre_buffer=False
        ) as table:
            number = 0
            for batch in table.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                for place in range(batch.num_rows):
                    number += 1
                    yield number, _row(file, batch, place, number, text)


@contextmanager
def _readable(file: Input) -> Iterator[Any]:
    """pyarrow's module, with its errors as ours."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Unsupported(
            "Reading Parquet needs pyarrow, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`.",
        ) from None
    try:
        yield parquet
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(
            f"{file} cannot be read as Parquet: {error}.", remedy="Get a sound copy of it."
        ) from None


def _columns(file: Input, schema: Any) -> tuple[str, list[str]]:
    """The column of the texts, and all that are read; each must hold strings."""
    from pyarrow import types

    text = text_column(file, schema.names)
    columns = [text] + [name for name in FIELDS[2:] if name in schema.names]
    for name in columns:
        kind = schema.field(name).type
        plain = kind.value_type if types.is_dictionary(kind) else kind
        kinds = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
        if not any(is_string(plain) for is_string in kinds):
            raise BadInput(
                f"{file}: the column '{name}' holds {kind}, not strings.",
                remedy="Write it as strings, or name it otherwise.",
            )
    return text, columns


def _row(file: Input, batch: Any, place: int, number: int, text: str) -> Any:
    try:
        row = {name: batch[name][place].as_py() for name in batch.schema.names}
    except UnicodeDecodeError as error:
        return BadInput(
            f"{file}, row {number}: it is not UTF-8: {error.reason}.", remedy="Write it as UTF-8."
        )
    if len(row[text] or "") > bounds.MAX_DOCUMENT_BYTES:
        return BadInput(
            f"{file}, row {number}: it is longer than {bounds.MAX_DOCUMENT_BYTES:,} characters.",
            remedy="Cut it into several documents.",
        )
    return {**row, text: row[text] or ""}
