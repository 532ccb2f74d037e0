"""What a run has generated so far, so that a killed one goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langwright.errors import Damaged
from langwright.store.atomic import space_checked


class Ledger:
    """A file of JSON lines {"key", …}, which only grows; `known` is what it holds by key.

    A line is added whole by one write; one that a dying process has left torn is dropped when the
    file is opened, and made again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[str, dict[str, Any]] = {}
        if path.exists():
            self._read()

    def add(self, key: str, values: Mapping[str, Any]) -> None:
        line = json.dumps({"key": key, **values}, ensure_ascii=False) + "\n"
        with space_checked(self._path), self._path.open("ab") as file:
            file.write(line.encode())
        self.known[key] = dict(values)

    def _read(self) -> None:
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                values = json.loads(line)
                self.known[values.pop("key")] = values
            except (ValueError, KeyError, AttributeError):
                raise Damaged(
                    f"Line {number} of {self._path} is no line of a ledger.",
                    remedy="Delete that line; what it held is generated again.",
                ) from None
