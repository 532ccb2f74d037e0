"""Compressed files, written by the libraries of their formats: the same text, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from langwright.errors import BadInput
from langwright.text import read_documents
from langwright.text.reading import input as bounds
from langwright.text.reading.packed import open_packed

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
RAW = "".join(f"Line {number}: Grüße 🙂.\n" for number in range(20_000)).encode()


@pytest.fixture(params=list(PACKERS))
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_bytes_are_those_that_were_packed(tmp_path: Path, suffix: str) -> None:
    file, pack = tmp_path / f"a{suffix}", PACKERS[suffix]
    for raw in (RAW, b"", b"x", b"\0" * 300_000 + b"end"):
        for parts in ([raw], [raw[:7], raw[7:]], [raw, b"", raw]):  # members, one after the other
            file.write_bytes(b"".join(map(pack, parts)))
            with open_packed(file) as stream:
                assert stream.read() == b"".join(parts)


def test_a_stream_of_unknown_length_is_read(tmp_path: Path) -> None:
    """As `zstd` writes it from a pipe."""
    writer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    (tmp_path / "a.txt.zst").write_bytes(writer.compress(RAW) + writer.flush())
    (document,) = read_documents(tmp_path / "a.txt.zst")
    assert document.text.encode() == RAW


def test_lines_of_a_packed_file_are_documents(tmp_path: Path, suffix: str) -> None:
    rows = b'{"text": "One."}\n{"text": "Two.", "title": "T"}\n'
    file = tmp_path / f"a.jsonl{suffix}"
    file.write_bytes(PACKERS[suffix](rows))
    found = list(read_documents(file))
    assert [(one.text, one.source, one.title) for one in found] == [
        ("One.", f"a.jsonl{suffix}:1", None),
        ("Two.", f"a.jsonl{suffix}:2", "T"),
    ]


@pytest.mark.parametrize("damage", ["cut", "flipped", "followed", "none"])
def test_damage_is_said_and_what_stood_before_is_read(
    tmp_path: Path, suffix: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = bytearray(PACKERS[suffix](b'{"text": "One."}\n' * 20_000))
    if damage == "cut":
        packed = packed[:-20]
    elif damage == "flipped":
        packed[-12] ^= 0xFF
    elif damage == "followed":
        packed += b"and then some other bytes"
    else:
        packed = bytearray(b"not packed at all")
    (tmp_path / f"a.jsonl{suffix}").write_bytes(packed)
    (tmp_path / "b.txt").write_text("Good.")
    sources = [one.source for one in read_documents(tmp_path)]
    assert sources[-1] == "b.txt"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert f"a.jsonl{suffix} cannot be unpacked" in said[0]
    with pytest.raises(BadInput, match="cannot be unpacked"):
        list(read_documents(tmp_path / f"a.jsonl{suffix}"))


def test_a_bomb_is_stopped_at_the_bound(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gigabyte of zeros, or a fourth of it where packing is slow."""
    file, megabyte = tmp_path / f"a.txt{suffix}", bytes(2**20)
    file.write_bytes(PACKERS[suffix](megabyte * 16) * 16)
    monkeypatch.setattr(bounds, "MAX_DOCUMENT_BYTES", 2**22)
    tracemalloc.start()
    with pytest.raises(BadInput, match="longer than 4,194,304 bytes"):
        list(read_documents(file))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**26


def test_windows_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    options = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    large = zstandard.ZstdCompressor(compression_params=options)
    writer = large.compressobj()
    (tmp_path / "a.txt.zst").write_bytes(writer.compress(b"text") + writer.flush())
    with pytest.raises(BadInput, match="cannot be unpacked"):
        list(read_documents(tmp_path / "a.txt.zst"))
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**28}]
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(b"text", filters=filters))
    with pytest.raises(BadInput, match="cannot be unpacked"):
        list(read_documents(tmp_path / "a.txt.xz"))
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(b"text", preset=9))
    assert next(read_documents(tmp_path / "b.txt.xz")).text == "text"


def test_formats_that_are_packed_themselves_are_not_read_packed(tmp_path: Path) -> None:
    (tmp_path / "a.pdf.gz").write_bytes(gzip.compress(b"%PDF"))
    with pytest.raises(BadInput, match="of a kind that is not read"):
        list(read_documents(tmp_path / "a.pdf.gz"))
