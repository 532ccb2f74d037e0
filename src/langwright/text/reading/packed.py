"""Compressed files as streams: unpacked in memory piece by piece, never to disk."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

from langwright.errors import BadInput, Unsupported

PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")

MAX_WINDOW_BYTES = 2**27
"""What a Zstandard or xz stream may ask to keep in memory: the most that `zstd` itself opens
without being told to, and more than `xz -9` asks for (65 MiB)."""

_CHUNK = 2**16
_ZSTD_CHUNK = 512
"""Its decompressor has no bound on what it gives at once, but a block, of at least 4 bytes,
unpacks to at most 128 KiB."""


class _Member(Protocol):
    """One frame or member, with the protocol of the standard library's decompressors."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflater.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflater.decompress(self._inflater.unconsumed_tail + data, max_length)


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        self._frame = decompressor.decompressobj()
        self._tail = b""

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def needs_input(self) -> bool:
        return not self._tail

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data + self._tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        data = self._tail + data
        data, self._tail = data[:_ZSTD_CHUNK], data[_ZSTD_CHUNK:]
        return self._frame.decompress(data)


class _Unpacked(io.RawIOBase):
    """The members of a compressed file, one after the other, as one stream."""

    def __init__(self, path: Path, member: Callable[[], Any], broken: tuple[Any, ...]) -> None:
        self._file = path.open("rb")
        self._path, self._new, self._broken = path, member, broken
        self._member: _Member | None = None
        self._left = b""
        self._met = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            try:
                piece = self._next()
            except self._broken as error:
                raise self._damaged(str(error)) from None
            if piece is None:
                return 0
            self._left = piece
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def _next(self) -> bytes | None:
        """Some more bytes, perhaps none; None at the end."""
        data = b""
        if self._member is None or self._member.eof:
            data = self._member.unused_data if self._member is not None else b""
            # Between streams, and after the last, xz and tar's gzip allow zeros.
            while not (data := data.lstrip(b"\0") if self._met else data):
                if not (data := self._file.read(_CHUNK)):
                    if self._met:
                        return None
                    raise self._damaged("it is empty")
            self._member, self._met = self._new(), True
        elif self._member.needs_input and not (data := self._file.read(_CHUNK)):
            raise self._damaged("it breaks off in the middle")
        return self._member.decompress(data, _CHUNK)

    def _damaged(self, what: str) -> BadInput:
        return BadInput(
            f"{self._path} cannot be unpacked: {what}.", remedy="Get a sound copy of it."
        )


def open_packed(path: Path) -> IO[bytes]:
    """The unpacked bytes of a `.gz`, `.bz2`, `.xz` or `.zst` file of any number of members.

    At most about 16 MiB are unpacked ahead of the reader, whatever the file says of itself. What
    is damaged, breaks off, or has something else behind it raises `BadInput` when it is reached.
    """
    suffix = path.suffix.lower()
    if suffix == ".gz":
        raw = _Unpacked(path, _Gzip, (zlib.error,))
    elif suffix == ".bz2":
        raw = _Unpacked(path, bz2.BZ2Decompressor, (OSError, ValueError))
    elif suffix == ".xz":
        raw = _Unpacked(path, _xz, (lzma.LZMAError,))
    else:
        raw = _Unpacked(path, _Zstd, (_zstd_error(),))
    return io.BufferedReader(raw, _CHUNK)


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=MAX_WINDOW_BYTES)


def _zstd_error() -> type[Exception]:
    try:
        import zstandard
    except ImportError:
        raise Unsupported(
            "Reading .zst files needs zstandard, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`; or unpack the file: `unzstd`.",
        ) from None
    return zstandard.ZstdError
