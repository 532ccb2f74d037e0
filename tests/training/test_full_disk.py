"""A disk that fills up during training, for real: a small file system in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from langwright.errors import NoSpace
from langwright.store import Store
from langwright.training import pretrain
from langwright.training.batch import MicroBatch
from langwright.training.checkpoint import load_checkpoint
from langwright.training.stages.pretrain import Pretrain

Disk = Callable[[int], Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of so many kilobytes, or the same one with another size."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small file system needs root")

    def size(kilobytes: int) -> Path:
        again = "remount," if os.path.ismount(disk) else ""
        words = [str(mount), "-t", "tmpfs", "-o", f"{again}size={kilobytes}k", "none", str(disk)]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("this machine lets nobody mount a tmpfs")
        return disk

    yield size
    if os.path.ismount(disk):
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    small_disk: Disk, tmp_path: Path, recipe: str
) -> None:
    store = Store(small_disk(2000))
    with pytest.raises(NoSpace, match="bytes"):
        pretrain(recipe, name="run", store=store)
    run = store.run("run")
    assert run.status == "stopped"
    assert not list(run.checkpoints.glob("aside-*"))
    small_disk(20_000)
    continued = pretrain(recipe, name="run", store=store)
    whole = pretrain(recipe, name="whole", store=Store(tmp_path / "home"))
    assert continued["weights_sha256"] == whole["weights_sha256"]


def fill(path: Path) -> None:
    """Write until there is no room for another byte."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_the_last_good_checkpoint_outlives_a_disk_that_fills_up_meanwhile(
    small_disk: Disk, tmp_path: Path, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others fill it to the last byte after step 7; step 6 is what the run goes on from."""
    disk = small_disk(20_000)
    store, plain, ballast = Store(disk), Pretrain.micro_batches, disk / "ballast"

    def micro_batches(self: Pretrain, step: int) -> Sequence[MicroBatch]:
        if step == 7 and not ballast.exists():
            latest = store.run("run").checkpoints / "latest"
            while latest.read_text() != "step-00000006":  # a thread writes it
                os.sched_yield()
            fill(ballast)
        return plain(self, step)

    monkeypatch.setattr(Pretrain, "micro_batches", micro_batches)
    for _ in range(2):
        with pytest.raises(NoSpace):
            pretrain(recipe, name="run", store=store)
        run = store.run("run")
        found = load_checkpoint(run)
        assert found is not None
        assert found.state["step"] == 6
    ballast.unlink()
    ballast = disk / "run"  # which is there: nobody fills it again
    ballast.touch()
    continued = pretrain(recipe, name="run", store=store)
    assert continued["resumed_from_step"] == 6
    whole = pretrain(recipe, name="whole", store=Store(tmp_path / "home"))
    assert continued["weights_sha256"] == whole["weights_sha256"]
