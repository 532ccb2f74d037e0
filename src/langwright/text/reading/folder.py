"""Which files of a folder are read, and in which order."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from langwright.errors import BadInput
from langwright.progress import say


def files_of(folder: Path, known: tuple[Path, ...], reads: Callable[[Path], bool]) -> list[Path]:
    """The files below `folder` that `reads` accepts, sorted by path; what is left out is said.

    Where the first of `known` is among them it is taken alone, and the others of `known` beside it
    are passed over without a word: such a folder is a corpus of the store.
    """
    seen: set[tuple[int, int]] = set()
    files: list[Path] = []

    def pass_over(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise unreadable(folder, error)
        say(f"skipped: {unreadable(error.filename, error).message}")

    for here, folders, names in os.walk(folder, followlinks=True, onerror=pass_over):
        status = os.stat(here)
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            say(f"skipped {os.path.relpath(here, folder)}: a link to a folder already met")
            folders.clear()
            continue
        seen.add(identity)
        # Sorted, so that of two ways to one folder the same one is always taken.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(here, name) for name in names if not name.startswith(".")]
    readable = sorted(file for file in files if reads(file))
    if known[0] in readable:
        others = [file for file in readable if file not in known]
        _report(others, folder, f"beside {known[0].name}")
        return [known[0]]
    _report(sorted(set(files) - set(readable)), folder, "of kinds that are not read")
    return readable


def unreadable(file: Path | str, error: OSError) -> BadInput:
    return BadInput(
        f"{file} cannot be read: {error.strerror or error}.",
        remedy="Correct its permissions or remove it.",
    )


def _report(skipped: list[Path], folder: Path, why: str) -> None:
    if skipped:
        names = ", ".join(file.relative_to(folder).as_posix() for file in skipped[:3])
        files = "file" if len(skipped) == 1 else "files"
        say(f"skipped {len(skipped)} {files} {why}: {names}{', …' if len(skipped) > 3 else ''}")
