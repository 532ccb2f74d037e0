from __future__ import annotations

import codecs
import json
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from langwright.errors import BadInput, NotFound
from langwright.text import Document, read_documents
from langwright.text.reading import input as bounds


def read(path: Path) -> list[Document]:
    return list(read_documents(path))


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["txt", "md", "TXT"])
def test_a_text_file_is_one_document_to_the_byte(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"tale.{suffix}"
    file.write_bytes("\n Öl\r\n\n".encode())
    assert read(file) == [Document("\n Öl\r\n\n", f"tale.{suffix}")]


def test_a_real_book_is_read_whole(data: Path) -> None:
    file = data / "books" / "ulysses.md"
    (document,) = read(file)
    assert document.text.encode() == file.read_bytes()


def test_jsonl_is_one_document_a_line(tmp_path: Path) -> None:
    file = lines(
        tmp_path / "tales.jsonl",
        {"text": "One.", "title": "First", "source": "book", "licence": "MIT", "meta": {"n": 1}},
        {"content": "Two.", "title": None},
    )
    assert read(file) == [
        Document("One.", "book", "First", "MIT"),
        Document("Two.", "tales.jsonl:2"),
    ]


def test_jsonl_lines_end_at_lf_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes('{"text": "a\u2028b\x85c"}\r\n\n{"text": "d"}'.encode())
    assert [d.text for d in read(file)] == ["a\u2028b\x85c", "d"]
    assert read(file)[1].source == "a.jsonl:3"


def test_jsonl_is_read_one_line_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "big.jsonl"
    file.write_bytes((json.dumps({"text": "x" * 10_000}) + "\n").encode() * 1000)
    tracemalloc.start()
    assert sum(1 for _ in read_documents(file)) == 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < file.stat().st_size / 10


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"messages": [{"role": "user", "content": "hi"}]}', "conversation"),
        ('{"messages": [], "text": "hi"}', "conversation"),
        ('{"title": "hi"}', "no 'text'"),
        ('{"text": null}', "no 'text'"),
        ('{"text": 3}', "'text' is not a string"),
        ('{"text": "a", "title": 3}', "'title' is not a string"),
        ('{"text": "a", "source": 0}', "'source' is not a string"),
        ('{"text": "\\ud800"}', "surrogate"),
        ('["hi"]', "not a JSON object"),
        ('{"text": ', "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "good"}\n' + line + "\n")
    with pytest.raises(BadInput, match=f"a.jsonl, line 2: .*{says}"):
        read(file)


def test_lines_without_text_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = lines(tmp_path / "a.jsonl", {"text": ""}, {"text": "One."}, {"text": " \n"})
    assert [d.text for d in read(file)] == ["One."]
    assert "skipped 2 lines without text" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_a_byte_order_mark_is_dropped(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(b"\xef\xbb\xbf" + (b"Once." if suffix == "txt" else b'{"text": "Once."}'))
    assert read(file)[0].text == "Once."


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_wrong_byte_is_named_by_its_place(tmp_path: Path, mark: bytes) -> None:
    before = mark + b'{"text": "good"}\n{"text": "'
    file = tmp_path / "a.jsonl"
    file.write_bytes(before + b"\xe9t\xe9")
    with pytest.raises(BadInput, match=f"a.jsonl is not UTF-8: .*byte {len(before)}") as latin:
        read(file)
    assert "iconv" in latin.value.remedy
    for name in ("a.jsonl", "a.txt"):
        (tmp_path / name).write_bytes(before + b"\x00")
        with pytest.raises(BadInput, match=f"{name} is binary.*byte {len(before)}"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Ein schöner Tag für größere Äpfel, Öl und Übermut. " * 4),
        ("cp1251", "Всё счастливые семьи похожи друг на друга. " * 4),
        ("euc_jp", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 4),
        ("gb18030", "学而时习之，不亦说乎？有朋自远方来。" * 4),
    ],
)
def test_an_old_encoding_is_guessed_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str, text: str
) -> None:
    (tmp_path / "old.txt").write_bytes(text.encode(encoding))
    assert read(tmp_path / "old.txt") == [Document(text, "old.txt")]
    assert re.search(r"^read old\.txt as \S+ \(guessed\)$", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be"])
def test_a_mark_of_utf_16_or_32_is_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    file, mark = tmp_path / "a.txt", "\ufeff" if encoding.endswith("be") else ""
    file.write_text(f"{mark}Œuvre 🙂", encoding=encoding)
    assert read(file) == [Document("Œuvre 🙂", "a.txt")]
    assert capsys.readouterr().err == ""
    file.write_bytes(file.read_bytes() + b"\xd8")
    with pytest.raises(BadInput, match=r"begins as UTF-.*byte"):
        read(file)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
@pytest.mark.parametrize("content", ["", "\ufeff", " \n\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=f"{name} is empty"):
        read(file)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_too_long_a_document_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(bounds, "MAX_DOCUMENT_BYTES", 20)
    file = tmp_path / name
    file.write_text('{"text": "1234567"}\n')
    assert len(read(file)) == 1
    file.write_text('{"text": "12345678"}\n')
    with pytest.raises(BadInput, match="longer than 20 bytes"):
        read(file)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file or folder"):
        read(tmp_path / "none.txt")
    (tmp_path / "a.exe").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"not read: there are \.txt, .*\.pdf"):
        read(tmp_path / "a.exe")
    with pytest.raises(BadInput, match="holds no file that is read"):
        read(tmp_path)


def test_a_folder_is_read_in_the_order_of_its_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ["b.txt", "a/z.md", "a/b/c.txt", "c/d.txt", ".hidden.txt", ".git/e.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    lines(tmp_path / "a" / "m.jsonl", {"text": "One."}, {"text": "Two."})
    for name in ["z.exe", "y.obj", "a/x.png", "w"]:
        (tmp_path / name).write_bytes(b"\x00")
    assert [d.source for d in read(tmp_path)] == [
        "a/b/c.txt",
        "a/m.jsonl:1",
        "a/m.jsonl:2",
        "a/z.md",
        "b.txt",
        "c/d.txt",
    ]
    said = capsys.readouterr().err
    assert "skipped 4 files of kinds that are not read: a/x.png, w, y.obj, …" in said


def test_links_that_lead_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.txt").write_text("One.")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert [d.source for d in read(tmp_path)] == ["a/one.txt"]


def test_of_several_links_to_one_folder_the_first_by_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "one.txt").write_text("One.")
    for order in ["abcdef", "fedcba"]:  # in which many systems then list them
        corpus = tmp_path / order
        corpus.mkdir()
        for name in order:
            (corpus / name).symlink_to(tmp_path / "outside")
        assert [d.source for d in read(corpus)] == ["a/one.txt"]


def test_a_broken_link_and_a_pipe_are_errors(tmp_path: Path) -> None:
    broken = tmp_path / "a.txt"
    broken.symlink_to(tmp_path / "none.txt")
    with pytest.raises(BadInput, match="holds no readable text"):
        read(tmp_path)
    broken.unlink()
    os.mkfifo(tmp_path / "b.txt")
    with pytest.raises(BadInput, match="not a file"):
        read(tmp_path / "b.txt")


def test_what_the_system_refuses_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / "a.txt").write_text("One.")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadInput, match=r"a\.txt cannot be read: Permission denied"):
        read(tmp_path / "a.txt")


def test_a_folder_that_the_system_refuses_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("One.")
    (tmp_path / "shut").mkdir()
    scandir, shut = os.scandir, {"shut"}

    def refuse(path: str) -> Any:
        if Path(path).name in shut:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [document.source for document in read(tmp_path)] == ["a.txt"]
    assert "shut cannot be read: Permission denied" in capsys.readouterr().err
    shut.add(tmp_path.name)
    with pytest.raises(BadInput, match="cannot be read: Permission denied"):
        read(tmp_path)


def test_a_corpus_artifact_is_its_documents_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines(
        tmp_path / "documents.jsonl",
        {"text": "One.", "title": None, "source": "web", "licence": "MIT", "meta": {}},
    )
    (tmp_path / "README.md").write_text("About the corpus.")
    (tmp_path / "manifest.json").write_text("{}")
    assert read(tmp_path) == [Document("One.", "web", None, "MIT")]
    assert "skipped 1 file beside documents.jsonl: README.md" in capsys.readouterr().err


def test_a_name_that_is_not_utf_8_can_still_be_written_down(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xe9.txt"
    with open(name, "w") as file:
        file.write("One.")
    read(tmp_path)[0].source.encode()


def test_formats_are_told_by_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        "<html><head><title>On Tea</title></head><body><nav>Home</nav><main><h1>On Tea</h1>"
        + "<p>Tea is poured into a warm pot, and stands for some minutes.</p>" * 3
        + "</main></body></html>"
    )
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\title{On Pots}\\begin{document}A pot.\\end{document}"
    )
    (tmp_path / "pot.py").write_text("# SPDX-License-Identifier: MIT\npour = print\n")
    page, paper, code = read(tmp_path)
    assert (page.title, "warm pot" in page.text, "<p>" in page.text) == ("On Tea", True, False)
    assert (paper.title, paper.text.strip()) == ("On Pots", "A pot.")
    assert (code.licence, code.source) == ("MIT", "pot.py")


def test_a_gutenberg_book_is_read_without_its_boilerplate(data: Path) -> None:
    (book,) = read(data / "books" / "sherlock.txt")
    assert book.title == "The Adventures of Sherlock Holmes"
    assert "Project Gutenberg" not in book.text[:200]
    assert "Gutenberg" in str(book.licence)
