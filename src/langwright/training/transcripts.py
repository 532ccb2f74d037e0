"""The answers of a run that learns from rewards, kept for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = "rollouts.jsonl"


def keep_transcripts(folder: Path, rollout: int, answers: Sequence[Mapping[str, Any]]) -> None:
    """Add a rollout's answers, one a line; those of a rollout that is drawn again after a kill take
    the place of the lines before."""
    path = folder / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = [line for line in lines if json.loads(line)["rollout"] < rollout]
    lines += [json.dumps({"rollout": rollout, **one}, ensure_ascii=False) for one in answers]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
