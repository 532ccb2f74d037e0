"""Checkpoints: the whole state of a run at a step, there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load as load_parts
from torch.distributed.checkpoint.state_dict_saver import async_save as save_parts_aside
from torch.distributed.checkpoint.state_dict_saver import save as save_parts

from langwright.errors import Damaged
from langwright.store import Run, write_atomic
from langwright.store.atomic import space_checked, sync_tree
from langwright.training.ranks import Ranks
from langwright.training.settings import LoopSettings
from langwright.training.trained import Trained

# Of one process it is told, at each checkpoint, that it is one process.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")


@dataclass(frozen=True)
class Checkpoint:
    """`state` is what the loop needs beside tensors: the step, tokens and seconds so far."""

    path: Path
    state: dict[str, Any]

    @property
    def model(self) -> Path:
        """The folder that `Trained.save` wrote."""
        return self.path / "model"

    def restore(self, optimizer: Mapping[str, Tensor], ranks: Ranks) -> None:
        """Fill the optimizer's tensors (`Optimizers.blank`), of which each rank may hold a part,
        whatever number of ranks wrote them."""
        reader = HuggingFaceStorageReader(str(self.path / "optimizer"))
        alone = ranks.mesh is None
        load_parts(dict(optimizer), storage_reader=reader, process_group=ranks.aside, no_dist=alone)


class Saver:
    """Saves checkpoints beside the training, one at a time.

    `save` copies what is to be saved and returns; the writing is another thread's. A checkpoint is
    written aside and synced, then renamed; the pointer `latest` moves last; then the oldest is
    dropped. Each rank writes its part of the optimizer's memory, the first one all else.
    """

    def __init__(self, run: Run, settings: LoopSettings, ranks: Ranks) -> None:
        self._run, self._settings, self._ranks = run, settings, ranks
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(
        self,
        state: Mapping[str, Any],
        trained: Trained[nn.Module],
        optimizer: Mapping[str, Tensor],
        needed: Sequence[int] = (),
    ) -> None:
        """`trained` holds copies of the float32 weights, in whole; its folder can be loaded as a
        model by itself. The newest checkpoints at or before each step `needed` stay.

        First waits for the last one, and raises what it raised (`wait`)."""
        self.wait()
        aside = self._run.checkpoints / f"aside-{self._ranks.told(os.getpid())}"
        writer = HuggingFaceStorageWriter(str(aside / "optimizer"), save_distributed=True)
        if self._ranks.mesh is None:
            copies = {name: value.detach().cpu().clone() for name, value in optimizer.items()}
            write: Callable[[], object] = partial(
                save_parts, copies, storage_writer=writer, no_dist=True
            )
        else:
            # It copies before it returns; the rest is a thread's, over a group of its own.
            begun = save_parts_aside(
                dict(optimizer), storage_writer=writer, process_group=self._ranks.aside
            )
            assert isinstance(begun, Future)
            write = begun.result
        values = dict(state)
        self._pending = self._threads.submit(self._write, values, trained, write, aside, needed)

    def wait(self) -> None:
        """Until all that was asked for is saved. Raises `NoSpace`, with all that stood before
        untouched."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait, and end the thread."""
        try:
            self.wait()
        finally:
            self._threads.shutdown()

    @property
    def failed(self) -> bool:
        """Whether the last one is known to have failed; `wait` says how."""
        pending = self._pending
        return pending is not None and pending.done() and pending.exception() is not None

    def _write(
        self,
        state: dict[str, Any],
        trained: Trained[nn.Module],
        write: Callable[[], object],
        aside: Path,
        needed: Sequence[int],
    ) -> None:
        folder = self._run.checkpoints
        try:
            with space_checked(folder):
                _full_disk_told(write)
                if self._ranks.leads:
                    self._publish(state, trained, aside)
                    self._drop(state["step"], needed)
        finally:
            if self._ranks.leads:
                shutil.rmtree(aside, ignore_errors=True)

    def _publish(self, state: dict[str, Any], trained: Trained[nn.Module], aside: Path) -> None:
        folder = self._run.checkpoints
        final = folder / _name(state["step"])
        (aside / "model").mkdir(parents=True)
        trained.save(aside / "model")
        files = sorted(path for path in aside.rglob("*") if path.is_file())
        sums = {str(path.relative_to(aside)): _sha256(path) for path in files}
        text = json.dumps({"state": state, "sha256": sums}, indent=1)
        (aside / "checkpoint.json").write_text(text)
        sync_tree(aside)
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        write_atomic(folder / "latest", final.name)

    def _drop(self, step: int, needed: Sequence[int]) -> None:
        """Drop what need not stay after the checkpoint of `step`: the oldest, and those of later
        steps, from which the run has gone back."""
        paths = saved_checkpoints(self._run)
        earlier = [path for path in paths if path.name <= _name(step)]
        every = self._settings.keep_every
        kept = earlier[-self._settings.keep_checkpoints :]
        kept += [path for path in earlier if every and _step(path) % every == 0]
        for other in needed:
            kept += [path for path in earlier if path.name <= _name(other)][-1:]
        for path in paths:
            if path not in kept:
                shutil.rmtree(path)
        for litter in self._run.checkpoints.glob("aside-*"):  # of a process that was killed
            shutil.rmtree(litter, ignore_errors=True)


def _full_disk_told(write: Callable[[], object]) -> None:
    """Call it; a full disk is the OSError that it is everywhere else, and not torch's own."""
    try:
        write()
    except CheckpointException as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


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
    return _step(earlier[-1])


def load_checkpoint(run: Run, step: int | None = None) -> Checkpoint | None:
    """The latest checkpoint, or that of `step`, its sums checked; None where there is none yet."""
    pointer = run.checkpoints / "latest"
    if not pointer.exists():
        return None
    name = pointer.read_text().strip() if step is None else _name(step)
    path = run.checkpoints / name
    try:
        stored = json.loads((path / "checkpoint.json").read_text())
        for name, expected in stored["sha256"].items():
            if _sha256(path / name) != expected:
                raise _damaged(run, path, f"{name} is not what was written")
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(run, path, str(error)) from None
    return Checkpoint(path, stored["state"])


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
