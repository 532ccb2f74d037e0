"""Writing that appears whole or not at all, also when the power or the disk gives out."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from langwright.errors import NoSpace

ASIDE = ".aside"
"""How the name of a file ends that is still being written."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def space_checked(path: Path) -> Iterator[None]:
    """Turn the system's "disk full" or "quota exceeded" into `NoSpace` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise NoSpace(
            f"There is no space left to write {path} ({_free_bytes(path):,} bytes are free).",
            remedy="Free some space, or set LANGWRIGHT_HOME to a folder on a larger disk.",
        ) from error


def _free_bytes(path: Path) -> int:
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8, line ends untouched) to `path`, all of it or none.

    Whoever reads sees the old file or the new one. Raises `NoSpace` when the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{ASIDE}")
    with space_checked(path):
        try:
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def publish_folder(aside: Path, target: Path) -> None:
    """Move a folder to `target`, which must not exist, on the same disk.

    Its files must be on the disk already (`sync_tree`): that can take long, this is done at once.
    """
    aside.rename(target)
    sync_folder(target.parent)


def sync_tree(folder: Path) -> None:
    """Bring every file and folder under `folder` to the disk itself."""
    for here, _, names in os.walk(folder):
        for name in names:
            # Windows flushes only what is open for writing.
            with open(os.path.join(here, name), "r+b") as file:
                os.fsync(file.fileno())
        sync_folder(Path(here))


def sync_folder(folder: Path) -> None:
    """Bring the names in `folder` to the disk; Windows knows no such thing and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
