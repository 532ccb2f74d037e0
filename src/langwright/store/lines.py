"""Files that grow by JSON lines; a process may die while it writes one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langwright.errors import Damaged
from langwright.store.atomic import space_checked, sync_folder


def append_line(path: Path, values: Mapping[str, Any], *, sync: bool = False) -> None:
    """Add one line. It survives the process; where `sync`, the power's failing too, which costs
    milliseconds. Raises `NoSpace`."""
    line = json.dumps(dict(values), ensure_ascii=False) + "\n"
    new = sync and not path.exists()
    with space_checked(path), path.open("ab+") as file:
        file.truncate(_whole_bytes(path))  # a torn line would swallow this one
        file.write(line.encode())
        if sync:
            file.flush()
            os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def read_lines(path: Path, remedy: str) -> list[dict[str, Any]]:
    """All whole lines, none where there is no file; one without its line end was being written
    when the process died. Raises `Damaged`, with `remedy`, for any other that is not JSON."""
    if not path.exists():
        return []
    *lines, _torn = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except ValueError:
            raise Damaged(f"Line {number} of {path} is not JSON.", remedy=remedy) from None
    return found


def _whole_bytes(path: Path) -> int:
    """How many bytes of the file end in a line end."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - 4096)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            position = start
    return 0
