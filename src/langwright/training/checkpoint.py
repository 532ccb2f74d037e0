"""Checkpoints: the whole state of a run at a step, there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from langwright.errors import Damaged
from langwright.model import write_tensors
from langwright.store import Run, write_atomic
from langwright.store.atomic import space_checked, sync_tree
from langwright.training.trained import Trained

KEPT = 2
"""The newest, and the one before it should the newest be damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """`state` is what the loop needs beside tensors: the step, tokens and seconds so far."""

    path: Path
    state: dict[str, Any]
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def save_checkpoint(
    run: Run,
    state: Mapping[str, Any],
    trained: Trained[nn.Module],
    optimizer: Mapping[str, Tensor],
    needed: Sequence[int] = (),
) -> None:
    """Write aside, sync, rename; move the pointer `latest` last; then drop the oldest, but for the
    newest at or before each step `needed`, and those of later steps, from which the run has gone
    back.

    `trained` holds the float32 master weights; its folder can be loaded as a model by itself.
    Raises `NoSpace` with all that stood before untouched.
    """
    final = run.checkpoints / _name(state["step"])
    aside = run.checkpoints / f"aside-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with space_checked(run.checkpoints):
            (aside / "model").mkdir(parents=True)
            trained.save(aside / "model")
            write_tensors(aside / "optimizer.safetensors", dict(optimizer))
            files = sorted(path for path in aside.rglob("*") if path.is_file())
            sums = {str(path.relative_to(aside)): _sha256(path) for path in files}
            text = json.dumps({"state": dict(state), "sha256": sums}, indent=1)
            (aside / "checkpoint.json").write_text(text)
            sync_tree(aside)
            shutil.rmtree(final, ignore_errors=True)
            aside.rename(final)
            write_atomic(run.checkpoints / "latest", final.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    earlier = [path for path in saved_checkpoints(run) if path.name <= final.name]
    kept = earlier[-KEPT:]
    for step in needed:
        kept += [path for path in earlier if path.name <= _name(step)][-1:]
    for path in saved_checkpoints(run):
        if path not in kept:
            shutil.rmtree(path)
    for litter in run.checkpoints.glob("aside-*"):  # of a process that was killed
        shutil.rmtree(litter, ignore_errors=True)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def saved_checkpoints(run: Run) -> list[Path]:
    """All that are there, the oldest first."""
    return sorted(run.checkpoints.glob("step-*"))


def return_to(run: Run, step: int) -> int:
    """Make the newest checkpoint at or before `step` the latest, or the beginning where there is
    none; the step that it is of."""
    earlier = [path for path in saved_checkpoints(run) if path.name <= _name(step)]
    pointer = run.checkpoints / "latest"
    if not earlier:
        pointer.unlink(missing_ok=True)
        return 0
    write_atomic(pointer, earlier[-1].name)
    return int(earlier[-1].name.removeprefix("step-"))


def load_checkpoint(run: Run) -> Checkpoint | None:
    """The latest checkpoint, its sums checked; None where there is none yet."""
    pointer = run.checkpoints / "latest"
    if not pointer.exists():
        return None
    path = run.checkpoints / pointer.read_text().strip()
    try:
        stored = json.loads((path / "checkpoint.json").read_text())
        for name, expected in stored["sha256"].items():
            if _sha256(path / name) != expected:
                raise _damaged(run, path, f"{name} is not what was written")
        weights = load_file(path / "model" / "model.safetensors")
        optimizer = load_file(path / "optimizer.safetensors")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise _damaged(run, path, str(error)) from None
    return Checkpoint(path, stored["state"], weights, optimizer)


def _damaged(run: Run, path: Path, why: str) -> Damaged:
    others = [other for other in saved_checkpoints(run) if other < path]
    if others:
        pointer = run.checkpoints / "latest"
        remedy = (
            f"Go back to the one before: write {others[-1].name} into {pointer}, then repeat the "
            "command."
        )
    else:
        remedy = f"`langwright remove {run.name}`, then start again."
    return Damaged(f"The checkpoint {path} is damaged: {why}.", remedy=remedy)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
