"""Dumps of MediaWiki, such as Wikipedia's `pages-articles.xml.bz2`: a document for each article."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from langwright.errors import BadInput
from langwright.text.document import Document
from langwright.text.reading.archives.left_out import tell_left_out
from langwright.text.reading.archives.wikitext import plain_text
from langwright.text.reading.input import Input
from langwright.text.reading.rich.archive import lxml_etree

WIKIPEDIA_LICENCE = "CC BY-SA 4.0"
MAX_WIKITEXT = 2**21
"""MediaWiki's own bound on a page (`$wgMaxArticleSize`)."""
_HIDDEN = ("6", "14")
"""The numbers of the namespaces of files and categories, whose names each language has its own."""


def read(file: Input) -> Iterator[Document]:
    """The text of the articles (namespace 0), without templates, tables, notes and pictures; the
    source is the article's address.

    Redirects and pages of other namespaces or forms are counted in one line, and so are pages
    that cannot be read.
    """
    etree = lxml_etree()
    left_out: Counter[str] = Counter()
    pages, site = 0, _Site()
    with file.open() as stream:
        try:
            elements = etree.iterparse(
                stream,
                tag=("{*}siteinfo", "{*}page", "{*}mediawiki"),
                resolve_entities=False,
                load_dtd=False,
                no_network=True,
                huge_tree=False,
                remove_comments=True,
                remove_pis=True,
            )
            for _, element in elements:
                name = etree.QName(element).localname
                if name == "siteinfo":
                    site = _Site.of(element)
                elif name == "page":
                    pages += 1
                    document = _document(element, site, left_out)
                    if document is not None:
                        yield document
                else:
                    continue
                _forget(element)
            if elements.root is None or etree.QName(elements.root).localname != "mediawiki":
                raise BadInput(
                    f"{file} is XML, but no dump of a MediaWiki.",
                    remedy="Take the text out of it, and give that.",
                )
        except etree.XMLSyntaxError as error:
            raise BadInput(
                f"{file} is damaged, or no XML, behind page {pages:,}: {error.msg}.",
                remedy="Get a sound copy of it.",
            ) from None
        finally:
            tell_left_out(left_out, pages, f"pages of {file}")


class _Site:
    """Where the articles lie, under which licence, and what its files and categories are called."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.licence: str | None = None
        self.hidden = frozenset({"file", "image", "category"})

    @classmethod
    def of(cls, element: Any) -> _Site:
        site = cls()
        base = (element.findtext("{*}base") or "").strip()
        if base.startswith(("http://", "https://")):
            site.root = base.rpartition("/")[0] + "/"
            host = urlsplit(base).hostname or ""
            if host == "wikipedia.org" or host.endswith(".wikipedia.org"):
                site.licence = WIKIPEDIA_LICENCE
        names = element.iterfind("{*}namespaces/{*}namespace")
        found = {one.text.lower() for one in names if one.get("key") in _HIDDEN and one.text}
        site.hidden |= found
        return site


def _document(page: Any, site: _Site, left_out: Counter[str]) -> Document | None:
    title = (page.findtext("{*}title") or "").strip()
    if (page.findtext("{*}ns") or "0").strip() != "0":
        left_out["of other namespaces"] += 1
        return None
    if page.find("{*}redirect") is not None:
        left_out["that only lead on"] += 1
        return None
    if (page.findtext("{*}revision/{*}model") or "wikitext").strip() != "wikitext":
        left_out["of other forms"] += 1
        return None
    source = page.findtext("{*}revision/{*}text") or ""
    if len(source) > MAX_WIKITEXT:
        left_out[f"longer than {MAX_WIKITEXT:,} characters"] += 1
        return None
    try:
        text = plain_text(source, site.hidden)
    except BadInput:
        left_out["that cannot be read"] += 1
        return None
    if not text:
        left_out["without text"] += 1
        return None
    address = f"{site.root}{quote(title.replace(' ', '_'))}" if site.root else title
    return Document(text, address, title or None, site.licence)


def _forget(element: Any) -> None:
    """Free the element and those before it: the tree of a dump would not fit in memory."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]
