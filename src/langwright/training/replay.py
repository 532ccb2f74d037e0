"""Parts of a run trained again, in a place of their own: the run itself is not touched."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from langwright.errors import Unsupported
from langwright.progress import say
from langwright.store import Run, Store
from langwright.training.loop import train
from langwright.training.rebuilt import rebuild_any


def verify_resume(name: str, *, store: Store | None = None) -> dict[str, Any]:
    """Train the run `name` again from its last checkpoint but one to its last one, and compare all
    that they hold, bit by bit.

    The result tells `from_step` and `to_step`, the number of `tensors`, those that `differ` with
    their greatest difference, and whether all are `equal`. Raises `Unsupported` where the run has
    fewer than two checkpoints.
    """
    store = store or Store()
    run = store.run(name)
    _ = run.settings  # an unknown run is told of here
    steps = checkpoint_steps(run)
    if len(steps) < 2:
        raise Unsupported(
            f"The run '{name}' has {len(steps)} checkpoint{'s' * (len(steps) != 1)}; two are "
            "compared.",
            remedy="Let it train further: the setting checkpoint_every says when it saves.",
        )
    before, after = steps[-2], steps[-1]
    require_one_process(run, before)
    say(f"{name}: training steps {before + 1} to {after} again.")
    with trained_again(run, store, before, after) as found:
        ours, theirs = (tensors_of(folder) for folder in (found, folder_of(run, after)))
    differ = {
        key: float("inf")
        if key not in ours or key not in theirs
        else float((ours[key].double() - theirs[key].double()).abs().max())
        for key in sorted(ours.keys() | theirs.keys())
        if key not in ours or key not in theirs or not torch.equal(ours[key], theirs[key])
    }
    return {
        "run": name,
        "from_step": before,
        "to_step": after,
        "tensors": len(theirs),
        "equal": not differ,
        "differ": differ,
    }


def require_one_process(run: Run, step: int) -> None:
    """Raise `Unsupported` where several processes wrote the checkpoint of that step."""
    if len(list((folder_of(run, step) / "optimizer").iterdir())) > 1:
        raise Unsupported(
            f"The run '{run.name}' was trained by several processes.",
            remedy="Bits are equal only on equal ranks; here a run of one process is replayed.",
        )


def checkpoint_steps(run: Run) -> list[int]:
    """The steps whose checkpoints are kept, in order."""
    paths = run.checkpoints.glob("step-*/checkpoint.json")
    return sorted(int(path.parent.name.removeprefix("step-")) for path in paths)


def folder_of(run: Run, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run.checkpoints / f"step-{step:08d}"


def tensors_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint that one process wrote, by file and name."""
    files = [*(checkpoint / "model").glob("*.safetensors"), *(checkpoint / "optimizer").iterdir()]
    return {
        f"{file.parent.name}/{name}": value
        for file in files
        for name, value in load_file(file).items()
    }


@contextmanager
def trained_again(run: Run, store: Store, start: int, until: int) -> Iterator[Path]:
    """The folder of the checkpoint at `until`, made anew from that at `start`; it is gone after
    the block."""
    rebuilt = rebuild_any(run, store)
    origin = folder_of(run, start)
    with tempfile.TemporaryDirectory(prefix="langwright-replay-") as home:
        copy = Run(Path(home), run.name)
        copy.open(run.settings, run.parents)
        shutil.copytree(origin, folder_of(copy, start))
        (copy.checkpoints / "latest").write_text(origin.name)
        for kept in run.folder.glob("*.safetensors"):  # what the stage keeps from the beginning
            shutil.copyfile(kept, copy.folder / kept.name)
        trained, stage = rebuilt.prepare(rebuilt.settings.divided(1))
        train(copy, trained, stage, rebuilt.settings, until=until)
        yield folder_of(copy, until)
