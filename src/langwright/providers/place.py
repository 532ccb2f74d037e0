"""What a model's name means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """`name` says it exactly (`run@200` for the latest checkpoint of `run`), `path` is a GGUF file
    or a folder."""

    name: str
    path: Path
