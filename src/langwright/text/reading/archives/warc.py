"""Web archives (WARC, ISO 28500): a document for each page that was fetched."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from langwright.errors import BadInput, Unsupported
from langwright.text.document import Document
from langwright.text.reading.archives.left_out import tell_left_out
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.input import Input
from langwright.text.reading.rich import html
from langwright.text.reading.rich.decoding import decode

_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE)
_PAGES = ("text/html", "application/xhtml+xml")


def read(file: Input) -> Iterator[Document]:
    """The main content of the HTML pages and the plain texts that were answered with status 200,
    and the texts of a WET file; the source is the address.

    Records of other kinds, and pages that give no text, are counted in one line by their reason.
    """
    try:
        from warcio.archiveiterator import ArchiveIterator
        from warcio.exceptions import ArchiveLoadFailed
    except ImportError:
        raise Unsupported(
            "Reading WARC needs warcio, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`.",
        ) from None
    left_out: Counter[str] = Counter()
    number = 0
    with file.open() as stream:
        try:
            for number, record in enumerate(ArchiveIterator(stream), start=1):
                found, reason = _text(record)
                if found is None or not found.text.strip():
                    left_out[reason or "without text"] += 1
                    continue
                address = record.rec_headers.get_header("WARC-Target-URI") or ""
                source = address.strip("<> ") or f"{file.name}#{number}"
                yield Document(found.text, source, found.title, found.licence)
        except (ArchiveLoadFailed, EOFError, ValueError) as error:
            raise BadInput(
                f"{file} is damaged behind record {number}: {str(error).strip()[:200]}.",
                remedy="Get a sound copy of it.",
            ) from None
        finally:
            tell_left_out(left_out, number, f"records of {file}")


def _text(record: Any) -> tuple[Extracted | None, str | None]:
    """What a record holds, or why it holds nothing."""
    if record.rec_type not in ("response", "resource", "conversion"):
        return None, "of other kinds"
    headers = record.rec_headers
    if record.rec_type == "response":
        headers = record.http_headers
        if headers is None:
            return None, "of other kinds"
        if headers.get_statuscode() != "200":
            return None, "with another status than 200"
    kind = (headers.get_header("Content-Type") or "").lower()
    named = _CHARSET.search(kind)
    charset = named[1] if named else None
    page = kind.startswith(_PAGES)
    if not page and not kind.startswith("text/plain"):
        return None, "of other media"
    raw = record.content_stream().read(html.MAX_BYTES + 1)
    if len(raw) > html.MAX_BYTES:
        return None, f"longer than {html.MAX_BYTES:,} bytes"
    try:
        if page:
            found = html.extract(raw, encoding=charset)
            return found, None if found else "without main content"
        try:
            return Extracted(raw.decode(charset or "utf-8")), None
        except (LookupError, UnicodeDecodeError):  # the server was wrong, or says nothing
            return Extracted(decode(raw, "the page")[0]), None
    except BadInput:
        return None, "that cannot be read"
