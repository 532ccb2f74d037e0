"""The main content of a web page, as plain text."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langwright.errors import BadInput, Unsupported
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich.decoding import decode

MAX_BYTES = 16 * 2**20
"""A longer page is refused: parsed, it takes some 20 times its bytes of memory."""
MAX_ELEMENTS = 100_000
"""More elements are refused: trafilatura's time grows with the square of a table's or list's rows
(120,000 elements: about ten seconds)."""

_CHARSET = re.compile(rb"""<meta[^>]{0,500}charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.I)
_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]{0,200}encoding\s*=\s*["']([\w.:-]{1,40})""", re.I)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The names that browsers read as a larger encoding (the WHATWG's Encoding Standard, 4.2).
_AS_BROWSERS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "utf-16": "utf-8",  # a declaration that could be read was not in UTF-16
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}
# A page says where its content is by an element, a role, or one of these words in a name.
_MARKED_CONTENT = (
    "//article | //main | //*[@role='main' or @role='article' or @itemprop='articleBody']"
    " | //*[self::div or self::section]"
    "[re:test(concat(@id, ' ', @class), '(^|[ _-])(content|main|post|entry|story)($|[ _-])', 'i')]"
)
_EXSLT = {"re": "http://exslt.org/regular-expressions"}
# No text of a tree may hold these, but references such as `&#1;` put them there.
_UNPRINTABLE = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF])
_RIGHTS = ("dc.rights", "dcterms.rights", "dcterms.license", "dc.rights.license", "license")


def read(path: Path) -> Iterator[Extracted]:
    """The page's main content as one text; `extract` says how.

    Raises `BadInput` for a page without main content or over the bounds.
    """
    if path.stat().st_size > MAX_BYTES:
        raise _too_large(f"{path} is a page of {path.stat().st_size:,} bytes", MAX_BYTES, "bytes")
    found = extract(path.read_bytes())
    if found is None:
        raise BadInput(
            f"{path} holds no main content, only navigation, markup or nothing.",
            remedy="Leave it out; if its text is drawn by a script, save the page from a browser.",
        )
    yield found


def extract(raw: bytes | str, *, encoding: str | None = None) -> Extracted | None:
    """The main content of a page; None where there is none.

    Kept, each on a line: paragraphs, headings, list items (after "- "), table rows ("| a | b |");
    and preformatted blocks with their own line ends. Dropped: navigation, headers and footers of
    the site, forms, scripts, reader comments, images, link targets.
    The choice is trafilatura's (A. Barbaresi, ACL 2021), favouring recall.

    Bytes are decoded by their byte-order mark, else by `encoding` (what the server said), else by
    what the page declares, with U+FFFD for what does not decode, as browsers do; a page that
    declares nothing is UTF-8, or what charset-normalizer guesses, which `encoding` then tells.

    Raises `BadInput` above `MAX_BYTES` or `MAX_ELEMENTS`, and for bytes in no known encoding.
    """
    try:
        import trafilatura
        from lxml import etree, html
    except ImportError:
        raise Unsupported(
            "Reading HTML needs trafilatura, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`.",
        ) from None

    if len(raw) > MAX_BYTES:
        raise _too_large(f"The page has {len(raw):,} bytes", MAX_BYTES, "bytes")
    text, guessed = (raw, None) if isinstance(raw, str) else _decode(raw, encoding)
    text = text.translate(_UNPRINTABLE)
    # The HTML parser defines no entities and reads no DTD, so nothing can expand.
    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        tree = html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except etree.ParserError:  # an empty page
        return None
    if (elements := sum(1 for _ in tree.iter())) > MAX_ELEMENTS:
        raise _too_large(f"The page has {elements:,} elements", MAX_ELEMENTS, "elements")
    licence = _licence(tree)
    _prepare(tree)
    title = _title(tree)
    # What it warns of is raised here.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    page = trafilatura.bare_extraction(
        tree, fast=True, favor_recall=True, include_comments=False, include_tables=True
    )
    content = (getattr(page, "text", None) or "").strip()
    if title is not None:  # the title precedes the text already
        first, _, rest = content.partition("\n")
        content = rest.lstrip("\n") if first.strip() == title else content
    return Extracted(content, title, licence, encoding=guessed) if content else None


def _prepare(tree: Any) -> None:
    """Four repairs that trafilatura's heuristics need on documentation pages."""
    # Where no element is marked as the content, it would take up paragraphs without headings.
    if (
        not tree.xpath(_MARKED_CONTENT, namespaces=_EXSLT)
        and (body := tree.find("body")) is not None
    ):
        article = body.makeelement("article")
        article.text, body.text = body.text, None
        article.extend(list(body))
        body.append(article)
    # A link without text beside a code block ("run this") makes the block look like a list of
    # links, which is dropped. The signs are a heading's link to itself.
    for link in list(tree.iter("a")):
        if len(link) == 0 and not (link.text or "").strip(" \t\r\n¶#§🔗"):
            link.drop_tree()
    # Figures are dropped whole as pictures, but books put their listings and tables into them.
    for figure in tree.xpath("//figure[.//pre or .//table]"):
        figure.tag = "div"
        for caption in figure.iter("figcaption"):
            caption.tag = "p"
    # A line end in running text is a space; left in, it would cut sentences into lines.
    for piece in tree.xpath("//text()[contains(., '\n') and not(ancestor::pre)]"):
        parent, plain = piece.getparent(), re.sub(r"[ \t\r\n]+", " ", piece)
        plain = plain.translate(_UNPRINTABLE)
        if piece.is_tail:
            parent.tail = plain
        else:
            parent.text = plain


def _title(tree: Any) -> str | None:
    for path in ("//meta[@property='og:title']/@content", "//head/title", "//h1"):
        if title := _line(tree.xpath(f"string({path})")):
            return title
    return None


def _licence(tree: Any) -> str | None:
    """The address or name under `rel="license"`, or Dublin Core's rights."""
    for link in tree.xpath("//a[@rel and @href] | //link[@rel and @href]"):
        if "license" in link.get("rel").lower().split():
            address = link.get("href").strip()
            named = _line(link.text_content())
            if found := address if address.startswith(("http", "//")) else named or address:
                return str(found)
    for meta in tree.xpath("//meta[@name and @content]"):
        if meta.get("name").lower() in _RIGHTS and (rights := _line(meta.get("content"))):
            return rights
    return None


def _line(text: str) -> str:
    return " ".join(text.translate(_UNPRINTABLE).split())


def _decode(raw: bytes, said: str | None) -> tuple[str, str | None]:
    """The text and, where it was guessed, the name of its encoding."""
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return raw.decode(name, "replace").removeprefix("\ufeff"), None
    declared = _CHARSET.search(raw, 0, 4096) or _DECLARATION.search(raw, 0, 4096)
    for label in (said, declared and declared[1].decode("ascii", "replace")):
        if label and (known := _codec(label)):
            return raw.decode(known, "replace"), None
    return decode(raw, "The page")


def _codec(label: str) -> str | None:
    try:
        name = codecs.lookup(label).name
        "".encode(name)  # some of Python's codecs are no text encodings
    except (LookupError, UnicodeError, ValueError, TypeError):
        return None
    return _AS_BROWSERS.get(name, name)


def _too_large(what: str, most: int, unit: str) -> BadInput:
    return BadInput(
        f"{what}; at most {most:,} {unit} are read.",
        remedy="Split it into pages, or turn it into text with another program.",
    )
