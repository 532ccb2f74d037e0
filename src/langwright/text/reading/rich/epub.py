"""The text of an EPUB book."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.entities import html5
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich.archive import (
    Archive,
    join,
    lxml_etree,
    open_archive,
    xml_options,
)

_PAGES = ("application/xhtml+xml", "text/html")
# Fonts made unusable outside the book; the text beside them is plain.
_FONT_SCRAMBLING = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_XML_ENTITIES = {"amp", "lt", "gt", "quot", "apos"}
_SKIPPED = {"head", "script", "style", "svg", "rt", "rp", "nav"}
_CELLS = {"td", "th"}
_LINES = {"br", "li", "tr", "dt", "dd", "caption"}
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "center", "div", "dl", "figcaption",
    "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "ol",
    "p", "pre", "section", "table", "ul",
}  # fmt: skip


def read(path: Path) -> Iterator[Extracted]:
    """The book as one text: the pages in the order of its spine, without its table of contents.

    All text of a page is kept, blocks between empty lines: a book has no navigation to cut away.
    Dropped: pictures, readings above characters (ruby). The licence is what `dc:rights` says.

    Raises `BadInput` for a book with copy protection, a damaged one, and one without text.
    """
    with open_archive(path) as archive:
        _refuse_protected(archive, path)
        container = _parse(archive, "META-INF/container.xml")
        root = next((found for found in container.iter("{*}rootfile")), None)
        if root is None:
            raise archive.bad("its container names no book")
        package_name = join("", unquote(root.get("full-path", "")))
        package = _parse(archive, package_name)
        pages = (_page_text(archive, name) for name in _spine(package, package_name))
        text = "\n\n".join(page for page in pages if page)
        if not text:
            raise BadInput(
                f"{path} holds no text, only pictures or nothing.", remedy="Leave it out."
            )
        yield Extracted(text, _first(package, "title"), _first(package, "rights"))


def _refuse_protected(archive: Archive, path: Path) -> None:
    name = "META-INF/encryption.xml"
    methods = _parse(archive, name).iter("{*}EncryptionMethod") if name in archive else ()
    if any(method.get("Algorithm") not in _FONT_SCRAMBLING for method in methods):
        raise BadInput(
            f"{path} is encrypted (copy protection).", remedy="Get a copy without protection."
        )


def _spine(package: Any, base: str) -> Iterator[str]:
    """The members that hold the book's pages, in order."""
    items = {item.get("id"): item for item in package.iter("{*}item")}
    contents = {
        join(base, unquote(entry.get("href", "").partition("#")[0]))
        for entry in package.iter("{*}reference")
        if entry.get("type") == "toc"
    }
    for reference in package.iter("{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _PAGES:
            continue
        name = join(base, unquote(item.get("href", "")))
        if "nav" not in item.get("properties", "").split() and name not in contents:
            yield name


def _parse(archive: Archive, name: str) -> Any:
    etree = lxml_etree()
    try:
        return etree.fromstring(archive.read(name), etree.XMLParser(**xml_options()))
    except etree.XMLSyntaxError as error:
        raise archive.bad(f"the XML of '{name}' is damaged ({error})") from None


def _first(package: Any, name: str) -> str | None:
    text = package.findtext(".//{http://purl.org/dc/elements/1.1/}" + name)
    return " ".join(text.split()) or None if text else None


def _page_text(archive: Archive, name: str) -> str:
    etree = lxml_etree()
    raw = archive.read(name)
    try:
        tree = etree.fromstring(_named_entities(raw), etree.XMLParser(**xml_options()))
    except etree.XMLSyntaxError:
        # Not well-formed, as many books' pages are; HTML's rules read anything.
        from lxml import html

        try:
            tree = html.document_fromstring(raw)
        except etree.ParserError:  # empty
            return ""
    return _all_text(tree)


def _named_entities(raw: bytes) -> bytes:
    """HTML's named entities as numbers, which XML knows without a DTD."""

    def numbers(match: re.Match[bytes]) -> bytes:
        name = match[1].decode()
        if name in _XML_ENTITIES or f"{name};" not in html5:
            return match[0]
        return "".join(f"&#{ord(sign)};" for sign in html5[f"{name};"]).encode()

    return re.sub(rb"&([A-Za-z][A-Za-z0-9]{1,31});", numbers, raw)


def _all_text(tree: Any) -> str:
    """All text below `tree`, white space as a browser collapses it, blocks between empty lines."""
    etree = lxml_etree()
    blocks: list[str] = []
    line: list[str] = []
    gap = mark = ""
    skipping = preformatted = cells = 0

    def end_line(break_: str) -> None:
        nonlocal gap, mark
        if cells:  # what would be lines of its own outside a table
            line.append(" ")
            return
        text = "".join(line)
        text = text.strip("\r\n") if preformatted else " ".join(text.split())
        line.clear()
        if text.strip():
            blocks.append(f"{gap}{mark}{text}")
            gap = mark = ""
        gap = max(gap, break_)

    for event, element in etree.iterwalk(tree, events=("start", "end")):
        if not isinstance(element.tag, str):  # an entity, which is not expanded
            if event == "end" and element.tail and not skipping:
                line.append(element.tail)
            continue
        tag = element.tag.rpartition("}")[2].lower()
        break_ = "\n\n" if tag in _BLOCKS else "\n" if tag in _LINES else ""
        if event == "start":
            if break_:
                end_line(break_)
            skipping += tag in _SKIPPED
            preformatted += tag == "pre"
            cells += tag in _CELLS
            if tag == "li":
                mark = "- "
            if element.text and not skipping:
                line.append(element.text)
        else:
            if break_ and tag != "br":
                end_line(break_)
            if tag == "li":
                mark = ""  # of an empty one
            skipping -= tag in _SKIPPED
            preformatted -= tag == "pre"
            cells -= tag in _CELLS
            if tag in _CELLS and element.getnext() is not None:
                line.append(" | ")
            if element.tail and not skipping:
                line.append(element.tail)
    end_line("")
    return "".join(blocks).strip("\n")
