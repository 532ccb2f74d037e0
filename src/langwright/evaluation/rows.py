"""The rows of a task's data: JSON lines, or Parquet."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langwright.errors import BadInput, NotFound, Unsupported
from langwright.evaluation.task import Task

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """The rows of a file, and the digest of its bytes."""

    path: Path
    rows: list[Row]
    digest: str

    def where(self, index: int) -> str:
        return f"{self.path.name}, row {index + 1}"


def read_rows(path: Path) -> Rows:
    """All rows of a file of JSON lines, or Parquet; raises `NotFound`, `BadInput` with the line."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", remedy="Check the path.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder.", remedy="Give a file.") from None
    rows = _parquet(path) if path.suffix == ".parquet" else list(_lines(path, data))
    if not rows:
        raise BadInput(f"{path} has no rows.", remedy="Give at least one.")
    return Rows(path, rows, hashlib.sha256(data).hexdigest())


def find_data(task: Task, folder: Path | None, given: str | None) -> Path:
    """Where the data of a task lies: `given` on the command line (a file, or a folder that holds
    the task's), beside the task, or in the folder of test data."""
    if given is not None:
        path = Path(given).expanduser()
        return path / task.data if path.is_dir() else path
    if not task.data:
        raise NotFound(
            f"The task '{task.name}' names no data.",
            remedy='Give a JSON-lines file with --data, or write data = "FILE" into the task.',
        )
    if folder is not None:
        return folder / Path(task.data).expanduser()
    test_data = os.environ.get("LANGWRIGHT_TEST_DATA")
    if test_data and (Path(test_data) / task.data).exists():
        return Path(test_data) / task.data
    raise NotFound(
        f"The data of the task '{task.name}' are not here; they do not come with Langwright.",
        remedy="Give their JSON-lines file with --data, or the folder that holds "
        f"{task.data} with --data or LANGWRIGHT_TEST_DATA.",
    )


def _lines(path: Path, data: bytes) -> Iterator[Row]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(
                f"{path}, line {number}: this is not JSON ({error}).",
                remedy="Write one JSON object a line.",
            ) from None
        if not isinstance(row, dict):
            raise BadInput(
                f"{path}, line {number}: this is no JSON object.",
                remedy="Write one JSON object a line.",
            )
        yield row


def _parquet(path: Path) -> list[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Unsupported(
            "Reading Parquet needs pyarrow, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`.",
        ) from None
    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(
            f"{path} cannot be read as Parquet: {error}.", remedy="Get a sound copy of it."
        ) from None
    return rows
