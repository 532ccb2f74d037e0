"""An incident: a batch that was left out, written down with all that it held."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from langwright.store import Run, write_atomic


@runtime_checkable
class Documented(Protocol):
    """A stage that can show what a batch holds."""

    def documents(self, batch: Any) -> list[dict[str, Any]]:
        """The sequences of a micro-batch: token ids, targets, text."""
        ...


@dataclass(frozen=True)
class Incident:
    """`step` is the one that was to be made, counted from 1. `decision`: skip, rollback or stop, or
    empty for a window in which nothing is learnt.
    `skipped`: the first and the last data window that are left out from now on. `rate`: what the
    learning rates are multiplied with since then."""

    number: int
    step: int
    decision: str
    window: int
    loss: float
    gradient_norm: float
    z_loss: float
    z_norm: float
    skipped: list[int] | None
    back_to: int | None = None
    rate: float = 1.0

    def line(self) -> dict[str, Any]:
        """For `metrics.jsonl`; "nan" and "inf" are words there, since JSON has no such numbers."""
        plain = {
            key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }
        return {"step": plain.pop("step"), "incident": plain}


def write_incident(run: Run, incident: Incident, stage: object, batches: Sequence[Any]) -> None:
    """Write `incidents/step-STEP-window-WINDOW.json` in the run's folder, with the batch."""
    found: list[dict[str, Any]] = []
    if isinstance(stage, Documented):
        found = [document for batch in batches for document in stage.documents(batch)]
    line = incident.line()
    head = json.dumps({"step": line["step"], **line["incident"]}, indent=1)
    # A document a line, or each token would have one.
    rows = ",\n  ".join(json.dumps(document, ensure_ascii=False) for document in found)
    text = head.removesuffix("\n}") + f',\n "documents": [\n  {rows}\n ]\n}}\n'
    name = f"step-{incident.step:08d}-window-{incident.window:08d}.json"
    write_record(run, name, text)


def incidents_folder(run: Run) -> Path:
    """Where the records of a run lie."""
    return run.folder / "incidents"


def write_record(run: Run, name: str, text: str) -> Path:
    """Write a record, whole or not at all; its path."""
    folder = incidents_folder(run)
    folder.mkdir(exist_ok=True)
    write_atomic(folder / name, text)
    return folder / name
