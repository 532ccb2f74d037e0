"""The objects of a file of data: JSON lines, a JSON list or Parquet; also of a folder of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langwright.errors import BadInput
from langwright.progress import say
from langwright.text.reading.packed import PACKED_SUFFIXES
from langwright.text.rows import ROW_SUFFIXES, place, read_rows

KINDS = ROW_SUFFIXES
"""Of the first two a compressed file is read as well: `talk.jsonl.gz`."""

_TRAIN = re.compile(r"(?:^|[/._-])train(?:[/._-]|$)")


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
    """Where each object is ("talk.jsonl, line 3") -> the object. Raises as `read_rows`, with the
    `example` of an object."""
    for number, row in read_rows(file, example):
        yield place(file.name, number), row


def _kind(file: Path) -> str:
    packed = file.suffix.lower() in PACKED_SUFFIXES
    return Path(file.stem).suffix.lower() if packed else file.suffix.lower()


def _is_read(file: Path) -> bool:
    packed = file.suffix.lower() in PACKED_SUFFIXES
    return _kind(file) in (KINDS[:2] if packed else KINDS)
