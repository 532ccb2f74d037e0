"""A disk that fills up during training, for real: a small file system in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from langwright.errors import NoSpace
from langwright.store import Store
from langwright.training import pretrain


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small file system needs root")
    command = [mount, "-t", "tmpfs", "-o", "size=2000k", "none", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, recipe: str
) -> None:
    store = Store(small_disk)
    with pytest.raises(NoSpace, match="bytes"):
        pretrain(recipe, name="run", store=store)
    run = store.run("run")
    assert run.status == "stopped"
    assert not list(run.checkpoints.glob("aside-*"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    continued = pretrain(recipe, name="run", store=store)
    whole = pretrain(recipe, name="whole", store=Store(tmp_path / "home"))
    assert continued["weights_sha256"] == whole["weights_sha256"]
