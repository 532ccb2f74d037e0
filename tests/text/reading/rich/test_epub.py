from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich import epub

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>'
    "</rootfiles></container>"
)
PAGE = (
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>T</title></head><body>{}</body></html>'
)


def make(path: Path, *pages: str, extra: dict[str, str] | None = None, spine: str = "") -> Path:
    """An EPUB 3 book of these pages and a contents page; the manifest is in another order."""
    items = [
        f'<item id="p{i}" href="text/p%20{i}.xhtml" media-type="application/xhtml+xml"/>'
        for i in range(len(pages))
    ]
    spine = spine or "".join(f'<itemref idref="p{i}"/>' for i in range(len(pages)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Mill</dc:title>'
        "<dc:rights>CC BY 4.0</dc:rights></metadata><manifest>"
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        '<item id="css" href="a.css" media-type="text/css"/>'
        f"{''.join(reversed(items))}</manifest>"
        f'<spine><itemref idref="nav"/>{spine}</spine></package>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("OEBPS/book.opf", package)
        archive.writestr("OEBPS/nav.xhtml", PAGE.format("<h1>Contents</h1><nav/>"))
        for i, page in enumerate(pages):
            archive.writestr(f"OEBPS/text/p {i}.xhtml", page)
        for name, text in (extra or {}).items():
            archive.writestr(name, text)
    return path


def read(path: Path) -> Extracted:
    (found,) = epub.read(path)
    return found


def text_of(tmp_path: Path, body: str) -> str:
    return read(make(tmp_path / "a.epub", PAGE.format(body))).text


def test_a_book_is_its_pages_in_the_order_of_the_spine(tmp_path: Path) -> None:
    file = make(tmp_path / "a.epub", *(PAGE.format(f"<p>Page {i}.</p>") for i in range(12)))
    text = "\n\n".join(f"Page {i}." for i in range(12))
    assert read(file) == Extracted(text, "The Mill", "CC BY 4.0")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<h1>One</h1><p>It\n  turned <i>on</i>.</p>", "One\n\nIt turned on."),
        ("<p>a</p>b<p>c</p>d", "a\n\nb\n\nc\n\nd"),
        ("<div>a<br/>b</div><div><div>c</div></div>", "a\nb\n\nc"),
        ("<ul><li>a</li><li><p>b</p></li></ul><p>c</p>", "- a\n\n- b\n\nc"),
        ("<ul><li></li></ul><p>a</p>", "a"),
        ("<pre>  a\n    b</pre><p>c</p>", "  a\n    b\n\nc"),
        (
            "<table><tr><th>a</th><th>b</th></tr><tr><td><p>c</p></td><td/></tr></table>",
            "a | b\nc |",
        ),
        ("<p>one<!-- two --> three<?x y?>.</p>", "one three."),
        ("<p>caf&eacute;&nbsp;&amp; &lt;b&gt; &#8212;</p>", "café & <b> —"),
        ("<p><ruby>漢<rt>kan</rt></ruby>字</p>", "漢字"),
        ('<p>a<a id="x"/>b</p><script>evil()</script><style>p{}</style>', "ab"),
    ],
)
def test_all_text_of_a_page_is_kept(tmp_path: Path, body: str, text: str) -> None:
    assert text_of(tmp_path, body) == text.strip("\n")


def test_html_names_are_known_to_the_xml_of_a_page(tmp_path: Path) -> None:
    # A page of EPUB 2 names a DTD, which is not loaded.
    doctype = '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "xhtml11.dtd">'
    page = doctype + PAGE.format("<p>caf&eacute;&nbsp;noir</p>")
    assert read(make(tmp_path / "a.epub", page)).text == "café noir"


def test_a_page_that_is_not_well_formed_is_read_as_html(tmp_path: Path) -> None:
    assert text_of(tmp_path, "<p>It turned.<br>On &bogus; it went<p>and on.") == (
        "It turned.\nOn &bogus; it went\n\nand on."
    )


def test_a_name_that_no_xml_allows_is_read_over(tmp_path: Path) -> None:
    assert text_of(tmp_path, "<p>It <x:y<z>turned</x:y<z>.") == "It turned."


def test_every_word_of_a_real_book_is_kept_in_order(tmp_path: Path, data: Path) -> None:
    book = (data / "books" / "war-and-peace.txt").read_text(encoding="utf-8")[:300_000]
    escaped = book.replace("&", "&amp;").replace("<", "&lt;")
    paragraphs = "".join(f"<p>{paragraph}</p>" for paragraph in escaped.split("\n\n"))
    assert text_of(tmp_path, paragraphs).split() == book.split()


def test_a_page_may_be_deep(tmp_path: Path) -> None:
    assert text_of(tmp_path, "<div>" * 200 + "It turned." + "</div>" * 200) == "It turned."


def encryption(algorithm: str) -> dict[str, str]:
    xml = (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"'
        ' xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData>'
        f'<enc:EncryptionMethod Algorithm="{algorithm}"/></enc:EncryptedData></encryption>'
    )
    return {"META-INF/encryption.xml": xml}


def test_a_book_with_copy_protection_is_an_error_that_says_so(tmp_path: Path) -> None:
    extra = encryption("http://www.w3.org/2001/04/xmlenc#aes128-cbc")
    with pytest.raises(BadInput, match="copy protection"):
        read(make(tmp_path / "a.epub", PAGE.format("<p>x</p>"), extra=extra))


def test_scrambled_fonts_are_no_copy_protection(tmp_path: Path) -> None:
    extra = encryption("http://www.idpf.org/2008/embedding")
    assert read(make(tmp_path / "a.epub", PAGE.format("<p>x</p>"), extra=extra)).text == "x"


def test_a_book_without_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no text"):
        read(make(tmp_path / "a.epub", PAGE.format("<img src='a.png'/>")))


def test_a_page_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    package = make(tmp_path / "a.epub", PAGE.format("<p>x</p>"))
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(tmp_path / "b.epub", "w") as new:
        for name in old.namelist():
            if "p 0" not in name:
                new.writestr(name, old.read(name))
    with pytest.raises(BadInput, match=r"no member 'OEBPS/text/p 0\.xhtml'"):
        read(tmp_path / "b.epub")


def test_a_page_cannot_name_a_file_of_the_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    doctype = f'<!DOCTYPE html [<!ENTITY f SYSTEM "{secret.as_uri()}"><!ENTITY e "ha">]>'
    file = make(tmp_path / "a.epub", doctype + PAGE.format("<p>It turned&f;&e; on.</p>"))
    assert read(file).text == "It turned on."


def test_a_billion_laughs_do_not_expand(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    doctype = f'<!DOCTYPE html [<!ENTITY e0 "ha">{laughs}]>'
    file = make(tmp_path / "a.epub", doctype + PAGE.format("<p>It turned.&e9;</p><p>On.</p>"))
    assert len(read(file).text) < 100
