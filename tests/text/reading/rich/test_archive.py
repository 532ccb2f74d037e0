from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from langwright.errors import BadInput
from langwright.text.reading.rich import archive
from langwright.text.reading.rich.archive import join, open_archive


def make(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return path


def read(path: Path, name: str = "a") -> bytes:
    with open_archive(path) as opened:
        return opened.read(name)


def lie(path: Path, name: str, size: int) -> None:
    """Write `size` as the uncompressed size of `name` into both of its headers."""
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as zipped:
        local = zipped.getinfo(name).header_offset + 22
    central = raw.index(b"PK\x01\x02") + 24
    for place in (local, central):
        raw[place : place + 4] = struct.pack("<I", size)
    path.write_bytes(raw)


def test_a_member_is_read_whole(tmp_path: Path) -> None:
    assert read(make(tmp_path / "a.zip", a=b"It turned.", b=b"")) == b"It turned."


def test_a_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    file = make(tmp_path / "a.zip", a=bytes(2**20))
    lie(file, "a", archive.MAX_MEMBER_BYTES + 1)
    with pytest.raises(BadInput, match="67,108,865 bytes; at most 67,108,864"):
        read(file)


def test_a_bomb_that_lies_about_its_size_takes_no_memory(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as zipped, zipped.open("a", "w") as out:
        for _ in range(100):
            out.write(bytes(2**20))
    file = tmp_path / "a.zip"
    file.write_bytes(bomb.getvalue())
    lie(file, "a", 1000)
    tracemalloc.start()
    with pytest.raises(BadInput, match="'a' is damaged"):
        read(file)
    assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    tracemalloc.stop()


def test_many_members_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 25)
    with open_archive(make(tmp_path / "a.zip", a=b"x" * 10, b=b"y" * 10, c=b"z" * 10)) as opened:
        opened.read("a")
        opened.read("b")
        with pytest.raises(BadInput, match="25 of all members together"):
            opened.read("c")


def test_a_method_that_unpacks_without_bound_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as zipped:
        zipped.writestr("a", b"It turned.")
    with pytest.raises(BadInput, match="another method than deflate"):
        read(tmp_path / "a.zip")


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    file = make(tmp_path / "a.zip", a=bytes(1000))
    raw = file.read_bytes()
    start, end = raw.index(b"PK\x01\x02"), raw.index(b"PK\x05\x06")
    entry = raw[start:end]
    tail = bytearray(raw[end:])
    tail[8:12] = struct.pack("<HH", 2, 2)
    tail[12:16] = struct.pack("<I", 2 * len(entry))
    file.write_bytes(raw[:start] + entry + entry.replace(b"a", b"b") + bytes(tail))
    assert len(zipfile.ZipFile(file).infolist()) == 2
    with pytest.raises(BadInput, match="members overlap"):
        read(file)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    with pytest.raises(BadInput, match="it has 3 members"):
        read(make(tmp_path / "a.zip", a=b"", b=b"", c=b""))


def test_a_zip_with_a_password_is_an_error_that_says_so(tmp_path: Path) -> None:
    file = make(tmp_path / "a.zip", a=b"It turned.")
    raw = bytearray(file.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(raw)
    with pytest.raises(BadInput, match="protected by a password"):
        read(file)


def test_any_damage_is_an_error_of_ours_or_the_right_bytes(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.zip", a=b"It turned. " * 20).read_bytes()
    file = tmp_path / "b.zip"
    for place in range(len(whole)):
        for damaged in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :],
        ):
            file.write_bytes(damaged)
            with contextlib.suppress(BadInput):
                assert read(file) == b"It turned. " * 20


@pytest.mark.parametrize(
    ("base", "address", "name"),
    [
        ("OEBPS/book.opf", "text/one.xhtml", "OEBPS/text/one.xhtml"),
        ("OEBPS/book.opf", "../one.xhtml", "one.xhtml"),
        ("OEBPS/book.opf", "../../../etc/passwd", "etc/passwd"),
        ("OEBPS/book.opf", "/one.xhtml", "one.xhtml"),
        ("", "./book.opf", "book.opf"),
    ],
)
def test_an_address_never_leads_above_the_root(base: str, address: str, name: str) -> None:
    assert join(base, address) == name
