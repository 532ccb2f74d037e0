from __future__ import annotations

import contextlib
from pathlib import Path

import pypdf
import pytest

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich import pdf


def make(path: Path, *pages: str, title: str = "The Mill") -> Path:
    """A PDF written by hand, after ISO 32000: a page a text, its lines from top to bottom."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for i, page in enumerate(pages):
        shown = "".join(f"({line}) Tj T*\n" for line in page.splitlines())
        content = f"BT /F1 12 Tf 14 TL 72 700 Td\n{shown}ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792]"
            f" /Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * i} 0 R >>",
            f"<< /Length {len(content.encode('cp1252'))} >>\nstream\n{content}\nendstream",
        ]
    objects.append(f"<< /Title ({title}) >>")
    out = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("cp1252")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    out += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
        f"<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\n"
        f"startxref\n{len(out)}\n%%EOF\n"
    ).encode()
    path.write_bytes(out)
    return path


def read(path: Path) -> Extracted:
    (found,) = pdf.read(path)
    return found


def test_pages_follow_each_other_with_their_lines(tmp_path: Path) -> None:
    file = make(tmp_path / "a.pdf", "It turned.\nÖl and café.", "It stood.")
    assert read(file) == Extracted("It turned.\nÖl and café.\nIt stood.", "The Mill")


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("The mil-\nler sang.", "The miller sang."),
        ("A well-\nknown miller is well-known.", "A well-known miller is well-known."),
        ("A well-\nknown wellknown well-known word.", "A wellknown wellknown well-known word."),
        ("From 1914-\n1918 on.", "From 1914-1918 on."),
        ("Mr Smith-\nJones came.", "Mr Smith-Jones came."),
        ("It turned -\nand stopped.", "It turned -\nand stopped."),
    ],
)
def test_a_word_cut_at_the_end_of_a_line_is_joined(tmp_path: Path, lines: str, text: str) -> None:
    assert read(make(tmp_path / "a.pdf", lines)).text == text


def test_running_heads_and_page_numbers_go_but_no_other_repetition(tmp_path: Path) -> None:
    pages = [f"The Mill, part {i}\nThe first.\nSaid {i} times.\n- {i} -" for i in range(1, 6)]
    text = read(make(tmp_path / "a.pdf", *pages)).text
    assert text == "\n".join(f"The first.\nSaid {i} times." for i in range(1, 6))
    # On two pages nothing is known to be repeated by rule.
    assert read(make(tmp_path / "b.pdf", *pages[:2])).text == "\n".join(pages[:2])


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128"])
def test_a_pdf_with_a_password_is_an_error_that_says_so(tmp_path: Path, algorithm: str) -> None:
    writer = pypdf.PdfWriter(clone_from=make(tmp_path / "open.pdf", "It turned."))
    writer.encrypt("secret", algorithm=algorithm)
    file = tmp_path / "locked.pdf"
    writer.write(file)
    with pytest.raises(BadInput, match=r"locked\.pdf is protected by a password"):
        read(file)


def test_a_pdf_that_only_forbids_printing_is_read(tmp_path: Path) -> None:
    writer = pypdf.PdfWriter(clone_from=make(tmp_path / "open.pdf", "It turned."))
    writer.encrypt("", "owner", algorithm="RC4-128")
    writer.write(tmp_path / "owned.pdf")
    assert read(tmp_path / "owned.pdf").text == "It turned."


def test_a_pdf_without_a_text_layer_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no text layer on its 2 pages") as caught:
        read(make(tmp_path / "scan.pdf", "", ""))
    assert "ocrmypdf" in caught.value.remedy


@pytest.mark.parametrize("raw", [b"", b"hello", b"%PDF-1.7\n" + bytes(1000)])
def test_what_is_no_pdf_is_an_error(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "a.pdf"
    file.write_bytes(raw)
    with pytest.raises(BadInput, match="is not a PDF, or a damaged one"):
        read(file)


def test_a_pdf_cut_short_is_an_error_or_its_pages(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.pdf", "It turned.", "It stood.").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "b.pdf").write_bytes(whole[:length])
        with contextlib.suppress(BadInput):
            assert "It turned." in read(tmp_path / "b.pdf").text


def test_too_much_text_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_CHARACTERS", 15)
    with pytest.raises(BadInput, match="more than 15 characters"):
        read(make(tmp_path / "a.pdf", "It turned.", "It stood."))
