"""A run: the named folder in which one training command lives, from its settings to its report.

settings.json, parents.json   what was asked for, and the digests it was made from
metrics.jsonl                 one JSON object a line, as training goes on
state.json                    how it stands: status, result
checkpoints/, report          what it leaves
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from langwright.errors import BadSettings, Busy, Damaged, NotFound, suggest
from langwright.store.artifact import canonical_json
from langwright.store.atomic import write_atomic
from langwright.store.lines import append_line, read_lines

_PATIENCE_S = 0.5
"""Longer than anyone who only asks whether a run is held holds it."""


class Run:
    """The run `name` under `home`; nothing is on the disk before `open`."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.folder = home / "runs" / name
        self.checkpoints = self.folder / "checkpoints"
        self.report_path = self.folder / "report.html"
        self.metrics_path = self.folder / "metrics.jsonl"
        # Outside the folder, which can then be removed while its lock is held.
        self._lock_path = home / "locks" / f"run.{name}"
        self._holder_path = home / "locks" / f"run.{name}.pid"

    @property
    def exists(self) -> bool:
        return (self.folder / "settings.json").exists()

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self._read("settings.json")
        return settings

    @property
    def parents(self) -> list[str]:
        """Digests of the artifacts that it works on."""
        parents: list[str] = self._read("parents.json")
        return parents

    @property
    def state(self) -> dict[str, Any]:
        """What was last recorded; `status` is running, stopped or finished."""
        state: dict[str, Any] = self._read("state.json")
        return state

    def open(
        self,
        settings: Mapping[str, Any],
        parents: Iterable[str] = (),
        free: Collection[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create the run, or continue the one that has exactly these settings and parents; those
        named in `free` may differ. A key that the run was begun without, before there was such a
        setting, has its value in `defaults`.

        Raises `BadSettings` that lists the differences, one on a line.
        """
        # As JSON knows them, where a tuple is a list.
        settings = json.loads(canonical_json(settings))
        digests = list(parents)
        with FileLock(self.folder.parent.parent / "lock"):
            if self.exists:
                self._require_same(settings, digests, free, defaults or {})
            else:
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                self._write("parents.json", digests)
                self._write("state.json", {"status": "stopped"})
                self._write("settings.json", settings)  # last: it makes the run exist
        return self

    def _require_same(
        self,
        settings: Mapping[str, Any],
        parents: list[str],
        free: Collection[str],
        defaults: Mapping[str, Any],
    ) -> None:
        here = _flat({**defaults, **self.settings}) | {"parents": repr(self.parents)}
        there = _flat(settings) | {"parents": repr(parents)}
        lines = [
            f"  {key}: {here.get(key, 'not set')} -> {there.get(key, 'not set')}\n"
            for key in sorted(here.keys() | there.keys())
            if here.get(key) != there.get(key) and key not in free
        ]
        if lines:
            raise BadSettings(
                f"The run '{self.name}' was made with other settings:\n" + "".join(lines),
                remedy=f"Use another --name, or `langwright remove {self.name}`.",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against other processes; raises `Busy` that names the one holding it."""
        lock = FileLock(self._lock_path)
        try:
            lock.acquire(timeout=_PATIENCE_S)
        except Timeout:
            raise Busy(
                f"The run '{self.name}' is held by {self._holder()}.",
                remedy="Wait for it, or stop it with Ctrl-C; it continues where it stopped.",
            ) from None
        try:
            write_atomic(self._holder_path, str(os.getpid()))
            yield
        finally:
            self._holder_path.unlink(missing_ok=True)
            lock.release()

    def _holder(self) -> str:
        try:
            return f"process {self._holder_path.read_text()}"
        except FileNotFoundError:  # it took the lock just now
            return "another process"

    @property
    def status(self) -> str:
        """`running` only while a process holds the run; one that was killed is `stopped`."""
        status = str(self.state["status"])
        if status != "running":
            return status
        lock = FileLock(self._lock_path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return "running"
        lock.release()
        return "stopped"

    def update_state(self, **values: Any) -> None:
        """Record `values` beside what `state` holds; whole or not at all."""
        self._write("state.json", self.state | values)

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add one line to `metrics.jsonl`; it survives the process, though not the power."""
        append_line(self.metrics_path, values)

    def read_metrics(self) -> list[dict[str, Any]]:
        """All whole lines; one without its line end was being written when the process died.

        Raises `Damaged` for any other line that is not JSON.
        """
        return read_lines(self.metrics_path, "Delete that line; it only served plots and reports.")

    def truncate_metrics(self, step: int, incidents: int = 0) -> None:
        """Forget the lines whose "step" is beyond `step`, which a resumed run writes again.

        Of incidents those numbered up to `incidents` stay: a run may go back to before them.
        """
        kept = [
            line
            for line in self.read_metrics()
            if (
                line["incident"]["number"] <= incidents
                if "incident" in line
                else line.get("step", step) <= step
            )
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
        write_atomic(self.metrics_path, text)

    def public(self) -> dict[str, Any]:
        """What `langwright list --json` shows of it; `metrics` is the recorded result."""
        return {
            "name": self.name,
            "kind": "run",
            "status": self.status,
            "parents": self.parents,
            "settings": self.settings,
            "metrics": self.state.get("result") or {},
        }

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_bytes())
        except FileNotFoundError:
            others = [path.parent.name for path in self.folder.parent.glob("*/settings.json")]
            raise NotFound(
                f"There is no run '{self.name}'.", remedy=suggest(self.name, others)
            ) from None
        except ValueError:
            raise Damaged(
                f"{self.folder / name} is not JSON.",
                remedy=f"`langwright remove {self.name}`, then start again.",
            ) from None

    def _write(self, name: str, value: Any) -> None:
        write_atomic(self.folder / name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """`{"model": {"layers": 4}}` as `{"model.layers": "4"}`."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = repr(value)
    return flat
