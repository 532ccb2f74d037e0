from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from langwright.store import Artifact, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def add(store: Store, name: str, text: str = "text", **options: object) -> Artifact:
    """An artifact of one file."""
    with store.writing(name, "corpus", **options) as draft:  # type: ignore[arg-type]
        (draft.folder / "text.txt").write_text(text)
    return draft.artifact


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


StartChild = Callable[[str], "Child"]
MakeWheel = Callable[[str, str, Mapping[str, bytes]], str]


@pytest.fixture
def make_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeWheel:
    """Make a wheel that pip finds in a folder, and nothing else; returns its sha256."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def make(name: str, version: str, members: Mapping[str, bytes]) -> str:
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n"
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        path = shelf / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(zipfile.ZipInfo(member), content)
            archive.writestr(f"{info}/METADATA", metadata)
            archive.writestr(f"{info}/WHEEL", tags)
            archive.writestr(f"{info}/RECORD", "")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return make


class Child:
    """A process that runs `code`, says a line when it gets to `ready()`, and waits for `go`."""

    def __init__(self, code: str, home: Path) -> None:
        prelude = (
            "import sys; from pathlib import Path; from langwright.store import *\n"
            f"store = Store(Path({str(home)!r}))\n"
            "def ready():\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", prelude + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]

    def go(self) -> str:
        """Let it run to its end; returns what it printed."""
        return together([self])[0]

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=120)


def together(children: Sequence[Child]) -> list[str]:
    """Let all of them go at once, to their ends; returns what each printed."""
    for one in children:
        assert one.process.stdin is not None
        one.process.stdin.write("go\n")
        one.process.stdin.flush()
    ends = [one.process.communicate(timeout=120) for one in children]
    for one, (_, errors) in zip(children, ends, strict=True):
        assert one.process.returncode == 0, errors
    return [printed for printed, _ in ends]


@pytest.fixture
def child(store: Store) -> Iterator[StartChild]:
    started: list[Child] = []

    def start(code: str) -> Child:
        started.append(Child(code, store.home))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()
