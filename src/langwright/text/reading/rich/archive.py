"""Zip archives and XML from strangers, opened within bounds."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from langwright.errors import BadInput, Unsupported

MAX_MEMBERS = 20_000
MAX_MEMBER_BYTES = 64 * 2**20
MAX_TOTAL_BYTES = 256 * 2**20
"""Of all members that are read together; the pictures of a large book are not read."""

_CHUNK = 2**16

# What zipfile and its decompressors raise for damaged archives.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError)


class Archive:
    """A zip file whose members are read in memory, never unpacked to disk.

    A member's declared size is checked before it is read; no more than that is unpacked, and the
    sum is checked, so a header that lies makes a `BadInput`, not more memory.
    """

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path, self._left = archive, path, MAX_TOTAL_BYTES
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise self.bad(f"it has {len(members):,} members, more than {MAX_MEMBERS:,}")
        # Members that share bytes are the quoted-overlap bomb (D. Fifield, 2019).
        end = 0
        for member in sorted(members, key=lambda member: member.header_offset):
            if member.header_offset < end:
                raise self.bad("its members overlap, as those of a zip bomb do")
            end = member.header_offset + member.compress_size

    def __contains__(self, name: str) -> bool:
        return name in self._archive.NameToInfo

    def read(self, name: str) -> bytes:
        with self.open(name) as stream:
            # Without a size, zipfile unpacks what there is before it looks at what was declared.
            return b"".join(iter(lambda: stream.read(_CHUNK), b""))

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """The member as a stream of bytes."""
        member = self._archive.NameToInfo.get(name)
        if member is None:
            raise self.bad(f"it has no member '{name}'")
        if member.flag_bits & 1:
            raise BadInput(
                f"{self._path} is protected by a password.", remedy="Save it without the password."
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # The only two that EPUB and DOCX allow, and that zipfile unpacks bit by bit.
            raise self.bad(f"its member '{name}' is packed by another method than deflate")
        self._left -= member.file_size
        if member.file_size > MAX_MEMBER_BYTES or self._left < 0:
            raise self.bad(
                f"unpacked, '{name}' is {member.file_size:,} bytes; at most {MAX_MEMBER_BYTES:,}"
                f" are read, and {MAX_TOTAL_BYTES:,} of all members together"
            )
        try:
            with self._archive.open(member) as stream:
                yield stream
        except _BROKEN as error:
            raise self.bad(f"its member '{name}' is damaged ({error})") from None

    def bad(self, what: str) -> BadInput:
        return BadInput(f"{self._path} cannot be read: {what}.", remedy="Get a sound copy.")


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """The zip file at `path`; raises `BadInput` for what is none, damaged, or a bomb."""
    try:
        archive = zipfile.ZipFile(path)
    except _BROKEN as error:
        with path.open("rb") as stream:
            old = stream.read(4) == b"\xd0\xcf\x11\xe0"  # Microsoft's compound file
        raise BadInput(
            f"{path} is not a zip archive ({error})"
            + (": it is protected by a password, or of the older .doc format." if old else "."),
            remedy="Save it again, without a password." if old else "Get a sound copy.",
        ) from None
    with archive:
        yield Archive(archive, path)


def join(base: str, address: str) -> str:
    """The member that `address`, relative to the member `base`, names; never above the root."""
    path = posixpath.normpath(posixpath.join("/", posixpath.dirname(base), address))
    return path.lstrip("/")


def xml_options() -> dict[str, Any]:
    """For lxml's XML parsers: no entity is expanded, no DTD and nothing outside is loaded, and
    libxml2's own bounds (depth 256, 10 MB in one text) stay in force."""
    return {
        "resolve_entities": False,
        "load_dtd": False,
        "no_network": True,
        "huge_tree": False,
        "remove_comments": True,
        "remove_pis": True,
    }


def lxml_etree() -> Any:
    try:
        from lxml import etree
    except ImportError:
        raise Unsupported(
            "Reading EPUB and DOCX needs lxml, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`.",
        ) from None
    return etree
