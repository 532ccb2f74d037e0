"""What is on the disk is whole: the old bytes or the new ones, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from langwright.errors import NoSpace
from langwright.store import Store, write_atomic
from langwright.store.atomic import space_checked

from .conftest import files_under

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


def test_bytes_and_line_ends_arrive_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "a\r\nb\nü")
    assert path.read_bytes() == "a\r\nb\nü".encode()
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert files_under(tmp_path) == ["file"]


def test_a_reader_never_sees_half_a_file_even_when_the_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    code = (
        "import sys; from pathlib import Path; from langwright.store import write_atomic\n"
        "path = Path(sys.argv[1]); write_atomic(path, 'a' * 10**6); print(flush=True)\n"
        "while True:\n"
        "    for letter in 'ba':\n"
        "        write_atomic(path, letter * 10**6)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    seen = [path.read_bytes() for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    for content in [*seen, path.read_bytes()]:
        assert content in (b"a" * 10**6, b"b" * 10**6)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits on file sizes")
def test_a_write_that_fails_half_way_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from langwright.store import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    write_atomic(Path(sys.argv[1]), b'x' * 10000)\n"
        "except OSError as error:\n    print(error.errno)\n"
    )
    run = [sys.executable, "-c", code, str(path)]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert said == f"{errno.EFBIG}\n"
    assert path.read_text() == "old"
    assert files_under(tmp_path) == ["file"]


@needs_dev_full
def test_a_full_disk_is_named_with_the_bytes_free_and_a_remedy(tmp_path: Path) -> None:
    target = tmp_path / "not yet there" / "file"
    with pytest.raises(NoSpace) as caught, space_checked(target):
        Path("/dev/full").write_bytes(b"x")
    assert str(target) in caught.value.message
    assert "bytes are free" in caught.value.message
    assert "LANGWRIGHT_HOME" in caught.value.remedy


def test_other_failures_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), space_checked(tmp_path):
        (tmp_path / "none").read_bytes()
    with pytest.raises(NoSpace), space_checked(tmp_path):
        raise OSError(errno.EDQUOT, "quota")


@needs_dev_full
def test_a_disk_full_in_the_middle_of_an_artifact_leaves_nothing(store: Store) -> None:
    with pytest.raises(NoSpace), store.writing("big", "corpus") as draft:  # noqa: PT012
        (draft.folder / "first").write_text("this fits")
        Path("/dev/full").write_bytes(b"and this does not")
    assert store.artifacts() == []
    assert files_under(store.home / "tmp") == []
