"""The objects of a file of data: JSON lines, a JSON list or Parquet; also of a folder of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langwright.errors import BadInput, Unsupported
from langwright.progress import say
from langwright.text.reading.input import Input
from langwright.text.reading.packed import PACKED_SUFFIXES
from langwright.text.reading.rows import jsonl, jsonlist

KINDS = (".jsonl", ".json", ".parquet")
"""Of the first two a compressed file is read as well: `talk.jsonl.gz`."""

_TRAIN = re.compile(r"(?:^|[/._-])train(?:[/._-]|$)")
_BATCH_ROWS = 256


def files_of(path: Path) -> list[Path]:
    """The files with data of a path. Of a folder (a data set of the hub) those called `train`,
    where there are any, else all; what is left out is said. Raises `BadInput` where there is none.
    """
    if path.is_file():
        if not _is_read(path):
            raise BadInput(
                f"{path.name} is of a kind that is not read here.",
                remedy=f"Give one of {', '.join(KINDS)}.",
            )
        return [path]
    found = sorted(file for file in path.rglob("*") if file.is_file() and _is_read(file))
    if not found:
        raise BadInput(
            f"The folder {path} holds no data for fine-tuning.",
            remedy=f"It needs a file of {', '.join(KINDS)}.",
        )
    train = [file for file in found if _TRAIN.search(file.relative_to(path).as_posix())]
    if train and len(train) < len(found):
        left = [file.relative_to(path).as_posix() for file in found if file not in train]
        more = ", …" if len(left) > 5 else ""
        say(f"Only the files called train are read, not {', '.join(left[:5])}{more}.")
    return train or found


def rows(file: Path, example: str) -> Iterator[tuple[str, Any]]:
    """Where each object is ("talk.jsonl, line 3") -> the object. Raises `BadInput` for what is
    damaged or no JSON, with the `example` of an object."""
    given = Input(file, file.name)
    kind = _kind(file)
    if kind == ".parquet":
        numbered, unit = _parquet(file), "row"
    elif kind == ".json" and not _begins_object(given):
        numbered, unit = jsonlist.rows(given, example), "object"
    else:  # in data sets .json is often JSON lines
        numbered, unit = jsonl.rows(given, example), "line"
    for number, row in numbered:
        if isinstance(row, BadInput):
            raise row
        yield f"{file.name}, {unit} {number}", row


def _kind(file: Path) -> str:
    packed = file.suffix.lower() in PACKED_SUFFIXES
    return Path(file.stem).suffix.lower() if packed else file.suffix.lower()


def _is_read(file: Path) -> bool:
    packed = file.suffix.lower() in PACKED_SUFFIXES
    return _kind(file) in (KINDS[:2] if packed else KINDS)


def _begins_object(file: Input) -> bool:
    """Whether the first character that is no blank opens an object and the first line closes it."""
    with file.open() as stream:
        lines = (line.strip() for line in iter(stream.readline, b""))
        first = next((line for line in lines if line), b"").removeprefix(b"\xef\xbb\xbf")
    return first.startswith(b"{") and first.endswith(b"}")


def _parquet(file: Path) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Unsupported(
            "Reading Parquet needs pyarrow, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`.",
        ) from None
    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(_BATCH_ROWS, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file.name} cannot be read as Parquet: {error}.", remedy="Get a sound copy of it."
        ) from None
