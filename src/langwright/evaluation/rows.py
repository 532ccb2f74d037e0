"""The rows of a task's data, and where it lies."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from langwright.errors import NotFound
from langwright.evaluation.task import Task
from langwright.text import rows as text_rows
from langwright.text.rows import Row


@dataclass(frozen=True)
class Rows:
    """The rows of a file, and the digest of its bytes."""

    path: Path
    rows: list[Row]
    digest: str

    def where(self, index: int) -> str:
        return f"{self.path.name}, row {index + 1}"


def read_rows(path: Path) -> Rows:
    """All rows of a file of JSON lines, a JSON list or Parquet; raises as `text.rows.read_rows`."""
    rows = [row for _, row in text_rows.read_rows(path, "one JSON object")]
    return Rows(path, rows, hashlib.sha256(path.read_bytes()).hexdigest())


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
