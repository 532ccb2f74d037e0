"""The text of a Word document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich.archive import Archive, lxml_etree, open_archive, xml_options

_PARTS = ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml")
_JOINED_BY = {"tbl": "\n", "tr": " | ", "tc": " ", "p": ""}
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# Tracked deletions, the old place of what was moved, and the second copy of a drawing's text.
_LEFT_OUT = {"del", "moveFrom", "Fallback"}


def read(path: Path) -> Iterator[Extracted]:
    """The document as one text: paragraphs between empty lines, then foot- and endnotes.

    Kept: headings as paragraphs, table rows on lines with cells between " | ", text boxes, tracked
    insertions. Dropped: tracked deletions, comments, headers and footers, pictures, list numbers
    (which Word counts, and does not store). The title is that of the document's properties.

    Raises `BadInput` for a file with a password, a damaged one, and one without text.
    """
    with open_archive(path) as archive:
        blocks: list[str] = []
        for part in _PARTS:
            if part in archive or part == _PARTS[0]:
                with archive.open(part) as stream:
                    blocks += _blocks(stream, archive)
        text = "\n\n".join(blocks)
        if not text:
            raise BadInput(f"{path} holds no text.", remedy="Leave it out.")
        yield Extracted(text, _title(archive))


def _blocks(stream: IO[bytes], archive: Archive) -> list[str]:
    """The paragraphs and tables of a part, read as a stream; the tree behind it is let go."""
    etree = lxml_etree()
    blocks: list[str] = []
    opened: list[tuple[str, list[str]]] = [("body", blocks)]
    skipping = 0
    try:
        for event, element in etree.iterparse(stream, events=("start", "end"), **xml_options()):
            tag = element.tag.rpartition("}")[2]
            if tag in _LEFT_OUT:
                skipping += 1 if event == "start" else -1
            elif tag in _JOINED_BY:
                if event == "start":
                    opened.append((tag, []))
                    continue
                inner = opened.pop()[1]
                whole = _JOINED_BY[tag].join(inner) if any(inner) else ""
                whole = whole.strip() if tag == "p" else whole
                outer, pieces = opened[-1]
                if whole or tag == "tc":  # an empty cell keeps its column
                    pieces.append(f" {whole} " if outer == "p" else whole)  # a text box
            elif event == "end" and opened[-1][0] == "p" and not skipping:
                if tag == "t":
                    opened[-1][1].append(element.text or "")
                elif tag in _SIGNS:  # a tab stop too, but that stands before all text
                    opened[-1][1].append(_SIGNS[tag])
            if event == "end":
                _let_go(element)
    except etree.XMLSyntaxError as error:
        raise archive.bad(f"its XML is damaged ({error})") from None
    return blocks


def _let_go(element: Any) -> None:
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]


def _title(archive: Archive) -> str | None:
    if "docProps/core.xml" not in archive:
        return None
    etree = lxml_etree()
    try:
        core = etree.fromstring(archive.read("docProps/core.xml"), etree.XMLParser(**xml_options()))
    except etree.XMLSyntaxError:
        return None
    title = core.findtext("{http://purl.org/dc/elements/1.1/}title")
    return " ".join(title.split()) or None if title else None
