from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich import docx

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"
DC = "http://purl.org/dc/elements/1.1/"


def document(body: str) -> str:
    return f'<w:document xmlns:w="{W}" xmlns:mc="{MC}"><w:body>{body}</w:body></w:document>'


def p(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def make(path: Path, body: str, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", document(body))
        for name, text in members.items():
            archive.writestr(f"{name.replace('__', '/')}.xml", text)
    return path


def read(path: Path) -> Extracted:
    (found,) = docx.read(path)
    return found


def test_paragraphs_tables_and_notes(tmp_path: Path) -> None:
    row = "<w:tr><w:tc>{}</w:tc><w:tc>{}</w:tc></w:tr>"
    table = f"<w:tbl>{row.format(p('a'), p('b') + p('c'))}{row.format(p(''), p('d'))}</w:tbl>"
    body = (
        '<w:p><w:pPr><w:pStyle w:val="Heading1"/><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr>'
        "<w:r><w:t>The </w:t></w:r><w:r><w:t>Mill</w:t></w:r></w:p>"
        + p("It turned &amp; stopped.")
        + "<w:p/>"
        + "<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>"
        + table
        + p("End.")
    )
    notes = f'<w:footnotes xmlns:w="{W}"><w:footnote>{p("A note.")}</w:footnote></w:footnotes>'
    core = f'<c xmlns:dc="{DC}"><dc:title> The  Mill </dc:title></c>'
    file = make(tmp_path / "a.docx", body, word__footnotes=notes, docProps__core=core)
    text = "The Mill\n\nIt turned & stopped.\n\na\tb\nc\n\na | b c\n | d\n\nEnd.\n\nA note."
    assert read(file) == Extracted(text, "The Mill")


def test_tracked_changes_are_read_as_if_accepted(tmp_path: Path) -> None:
    body = (
        "<w:p><w:r><w:t>It </w:t></w:r>"
        "<w:del><w:r><w:delText>stood</w:delText><w:br/></w:r></w:del>"
        "<w:ins><w:r><w:t>turned</w:t></w:r></w:ins>"
        "<w:moveFrom><w:r><w:t> away</w:t></w:r></w:moveFrom><w:r><w:t>.</w:t></w:r></w:p>"
    )
    assert read(make(tmp_path / "a.docx", body)).text == "It turned."


def test_a_text_box_is_read_once(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{p('In the box.')}</w:txbxContent>"
    body = (
        "<w:p><w:r><w:t>Before.</w:t></w:r><w:r><mc:AlternateContent>"
        f"<mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
        "</mc:AlternateContent></w:r><w:r><w:t>After.</w:t></w:r></w:p>"
    )
    assert read(make(tmp_path / "a.docx", body)).text == "Before. In the box. After."


def test_a_long_document_is_read_whole(tmp_path: Path) -> None:
    body = "".join(p(f"Paragraph {i}.") for i in range(20_000))
    assert read(make(tmp_path / "a.docx", body)).text.count("\n\n") == 19_999


def test_a_document_without_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no text"):
        read(make(tmp_path / "a.docx", "<w:p/>"))


def test_a_password_is_an_error_that_says_so(tmp_path: Path) -> None:
    # Word puts a protected document into a compound file, which begins with these bytes.
    file = tmp_path / "a.docx"
    file.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(1000))
    with pytest.raises(BadInput, match="protected by a password"):
        read(file)


@pytest.mark.parametrize("cut", ["<w:p", "<w:p></w:r>", "&unknown;", "\x00"])
def test_damaged_xml_is_an_error(tmp_path: Path, cut: str) -> None:
    with pytest.raises(BadInput, match="its XML is damaged"):
        read(make(tmp_path / "a.docx", p("It turned.") + cut))


def test_a_zip_that_is_no_document_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.docx"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "It turned.")
    with pytest.raises(BadInput, match=r"no member 'word/document\.xml'"):
        read(file)


def with_entities(path: Path, entities: str, body: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", f"<!DOCTYPE x [{entities}]>{document(body)}")
    return path


def test_entities_do_not_expand(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    entities = f'<!ENTITY e "ha"><!ENTITY f SYSTEM "{secret.as_uri()}">'
    file = with_entities(tmp_path / "a.docx", entities, p("It turned.") + p("&e;&f;") + p("On."))
    assert read(file).text == "It turned.\n\nOn."


def test_a_billion_laughs_are_refused(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    file = with_entities(tmp_path / "a.docx", f'<!ENTITY e0 "ha">{laughs}', p("&e9;"))
    with pytest.raises(BadInput, match=r"amplification|no text"):
        read(file)
