"""The rows of a file that is a table: JSON lines, a list of JSON objects, Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from langwright.errors import BadInput, NotFound
from langwright.text.reading.folder import unreadable
from langwright.text.reading.input import Input
from langwright.text.reading.packed import PACKED_SUFFIXES
from langwright.text.reading.rows import jsonl, jsonlist, parquet

Row = dict[str, Any]

ROW_SUFFIXES = (".jsonl", ".json", ".parquet")


def read_rows(path: Path | str, shape: str) -> Iterator[tuple[int, Row]]:
    """The rows of a `.jsonl`, `.json` (a list of objects, or one) or `.parquet` file, numbered:
    lines, objects or rows from 1. JSON is also read packed (`.jsonl.gz`). One row at a time is held
    in memory.

    `shape` is what a row should look like, for the remedies. Raises `NotFound`; `BadInput` that
    names the line of what is no such object, and for a file of another kind or without rows;
    `Unsupported` where pyarrow is missing.
    """
    file = Input(Path(path), Path(path).name, shape=shape)
    found = False
    try:
        for number, row in _reader(file).rows(file):
            if isinstance(row, BadInput):
                raise row
            if not isinstance(row, dict):
                raise BadInput(
                    f"{place(path, number)}: this is no JSON object.",
                    remedy=f"Write {shape} there.",
                )
            found = True
            yield number, row
    except OSError as error:
        raise unreadable(file.path, error) from None
    if not found:
        raise BadInput(f"{file} has no rows.", remedy=f"Write at least one: {shape}.")


def place(path: Path | str, number: int) -> str:
    """Where a row is, in words: `FILE, line 3`."""
    unit = {".jsonl": "line", ".json": "object"}.get(_suffix(Path(path)), "row")
    return f"{path}, {unit} {number}"


def at_row(path: Path | str, number: int, error: BadInput) -> BadInput:
    """`error`, which then says in which row it is."""
    said = error.message[0].lower() + error.message[1:]
    return BadInput(f"{place(path, number)}: {said}", remedy=error.remedy)


def _suffix(path: Path) -> str:
    packed = path.suffix.lower() in PACKED_SUFFIXES
    return Path(path.stem if packed else path.name).suffix.lower()


def _reader(file: Input) -> ModuleType:
    """The module whose `rows` reads the file."""
    readers = {".jsonl": jsonl, ".json": jsonlist} | ({} if file.packed else {".parquet": parquet})
    if not file.path.exists():
        raise NotFound(f"There is no file {file}.", remedy="Check the path.")
    if not file.path.is_file() or _suffix(file.path) not in readers:
        raise BadInput(
            f"{file} is no file of rows: those end in {', '.join(ROW_SUFFIXES)}.",
            remedy=f"Give JSON lines, each {file.shape}.",
        )
    suffix = _suffix(file.path)
    # In data sets .json is often JSON lines.
    return jsonl if suffix == ".json" and _begins_object(file) else readers[suffix]


def _begins_object(file: Input) -> bool:
    """Whether the first line that is not blank holds a whole object."""
    with file.open() as stream:
        lines = (line.strip() for line in iter(stream.readline, b""))
        first = next((line for line in lines if line), b"").removeprefix(b"\xef\xbb\xbf")
    return first.startswith(b"{") and first.endswith(b"}")
