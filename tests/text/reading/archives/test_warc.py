"""Web archives: written by warcio and by hand."""

from __future__ import annotations

import gzip
import io
import random
import zlib
from pathlib import Path

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from langwright.errors import BadInput
from langwright.text import Document, read_documents

PARAGRAPH = "This paragraph of the page is long enough to be taken for what it is about. "
PAGE = (
    "<html><head><title>A page</title></head><body><nav><a href='/'>Home</a></nav>"
    f"<article><h1>A page</h1><p>{PARAGRAPH * 3}</p></article></body></html>"
)


def add(
    writer: WARCWriter, address: str, body: bytes, *headers: tuple[str, str], **options: str
) -> None:
    status = StatusAndHeaders(options.get("status", "200 OK"), list(headers), protocol="HTTP/1.1")
    record = writer.create_warc_record(
        address, options.get("kind", "response"), payload=io.BytesIO(body), http_headers=status
    )
    writer.write_record(record)


def write(path: Path, *, packed: bool = True) -> None:
    html = ("Content-Type", "text/html; charset=utf-8")
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=packed)
        writer.write_record(writer.create_warcinfo_record(path.name, {"software": "by hand"}))
        add(writer, "http://a.org/one", PAGE.encode(), html)
        add(writer, "http://a.org/gone", PAGE.encode(), html, status="404 Not Found")
        latin = ("Content-Type", "text/plain; charset=latin-1")
        add(writer, "http://a.org/two", "Grüße.".encode("latin-1"), latin)
        add(writer, "http://a.org/x.png", b"\x89PNG", ("Content-Type", "image/png"))
        squeezed = (html, ("Content-Encoding", "gzip"))
        add(writer, "http://a.org/three", gzip.compress(PAGE.encode()), *squeezed)
        add(writer, "http://a.org/empty", b"<html><body></body></html>", html)


@pytest.mark.parametrize("name", ["crawl.warc", "crawl.warc.gz"])
def test_pages_and_plain_texts_are_documents(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / name, packed=name.endswith("gz"))
    found = list(read_documents(tmp_path / name))
    assert [one.source for one in found] == [
        f"http://a.org/{page}" for page in ("one", "two", "three")
    ]
    assert PARAGRAPH.strip() in found[0].text
    assert "Home" not in found[0].text
    assert found[0].title == found[2].title == "A page"
    assert found[1] == Document("Grüße.", "http://a.org/two")
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"skipped 4 of 7 records of {tmp_path / name}: ")
    for reason in ("1 of other kinds", "1 with another status", "1 of other media", "1 without"):
        assert reason in said


def test_the_texts_of_a_wet_file(tmp_path: Path) -> None:
    body = "Zwölf Wörter.\n".encode()
    (tmp_path / "a.warc").write_bytes(
        b"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://b.org/\r\n"
        b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n" % (len(body), body)
    )
    assert list(read_documents(tmp_path / "a.warc")) == [
        Document("Zwölf Wörter.\n", "http://b.org/")
    ]


def test_what_stands_before_the_damage_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, numbers = tmp_path / "crawl.warc.gz", random.Random(1)
    with file.open("wb") as stream:
        writer = WARCWriter(stream, gzip=True)
        for number in range(40):
            body = numbers.randbytes(10_000).hex().encode()
            add(writer, f"http://a.org/{number}", body, ("Content-Type", "text/plain"))
    raw = file.read_bytes()
    file.write_bytes(raw[: len(raw) // 2])
    (tmp_path / "good.txt").write_text("Good.")
    (tmp_path / "none.warc").write_text("No archive at all.\n")
    sources = [one.source for one in read_documents(tmp_path)]
    assert sources[:15] == [f"http://a.org/{number}" for number in range(15)]
    assert len(sources) <= 21
    assert sources[-1] == "good.txt"
    said = capsys.readouterr().err
    assert "crawl.warc.gz cannot be unpacked: it breaks off" in said
    assert "none.warc is damaged behind record 0" in said


def test_a_page_that_unpacks_to_gigabytes_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    with (tmp_path / "a.warc").open("wb") as file:
        writer = WARCWriter(file, gzip=False)
        kinds = (("Content-Type", "text/html"), ("Content-Encoding", "gzip"))
        add(writer, "http://a.org/bomb", body, *kinds)
    with pytest.raises(BadInput, match="empty"):
        list(read_documents(tmp_path / "a.warc"))
    assert "1 longer than 16,777,216 bytes" in capsys.readouterr().err
