"""The text of a PDF."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from langwright.errors import BadInput, Unsupported
from langwright.text.reading.extracted import Extracted

MAX_CHARACTERS = 200_000_000

# pdfium writes U+0002 for a hyphen and the line's end after it.
_CUT_WORD = re.compile(r"(\w+)(?:\x02\n?|[-\u00ad]\n)(\w+)")
_WORD = re.compile(r"\w+(?:-\w+)*")


def read(path: Path) -> Iterator[Extracted]:
    """The PDF as one text, with its lines as they stand on the pages.

    A word cut at a line's end is joined; its hyphen stays before a capital or a digit, and where
    the file has the word with a hyphen elsewhere, and not without. Running heads and page numbers
    are dropped: the first and last lines of pages that, numbers aside, repeat on 40% of them.
    Columns follow the order of the file; pictures, the layout of formulas and the cells of tables
    are lost. The title is the metadata's.

    Raises `BadInput` for a password, a damaged file, more than `MAX_CHARACTERS`, and no text.
    """
    try:
        import pypdfium2 as pdfium
    except ImportError:
        raise Unsupported(
            "Reading PDF needs pypdfium2, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`.",
        ) from None
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            raise BadInput(
                f"{path} is protected by a password.",
                remedy="Save it without one: `qpdf --decrypt --password=… IN OUT`.",
            ) from None
        raise BadInput(
            f"{path} is not a PDF, or a damaged one ({error}).", remedy="Get a sound copy."
        ) from None
    try:
        pages: list[list[str]] = []
        characters = 0
        for number in range(len(document)):
            try:
                page = document[number]
                text = page.get_textpage().get_text_bounded()
                page.close()
            except pdfium.PdfiumError as error:
                raise BadInput(
                    f"{path}: page {number + 1} is damaged ({error}).", remedy="Get a sound copy."
                ) from None
            characters += len(text)
            if characters > MAX_CHARACTERS:
                raise BadInput(
                    f"{path} holds more than {MAX_CHARACTERS:,} characters.",
                    remedy="Split it into several files.",
                )
            pages.append([line.rstrip() for line in text.splitlines() if line.strip()])
        title = " ".join(document.get_metadata_dict().get("Title", "").split())
    finally:
        document.close()
    lines = _without_running_heads(pages)
    if not lines:
        raise BadInput(
            f"{path} has no text layer on its {len(pages)} pages: it is scanned, or pictures.",
            remedy="Recognise its text first, for example with `ocrmypdf IN OUT`.",
        )
    yield Extracted(_join_cut_words("\n".join(lines)), title or None)


def _without_running_heads(pages: list[list[str]]) -> list[str]:
    def shape(line: str) -> str:
        return re.sub(r"\d+", "#", line.strip())

    edges = Counter(line for page in pages if page for line in {shape(page[0]), shape(page[-1])})
    often = max(3, 0.4 * len(pages))
    running = {line for line, count in edges.items() if count >= often}
    kept: list[str] = []
    for page in pages:
        start = bool(page and shape(page[0]) in running)
        end = len(page) - bool(page and shape(page[-1]) in running)
        kept += page[start:end]
    return kept


def _join_cut_words(text: str) -> str:
    words = set(_WORD.findall(text))

    def joined(match: re.Match[str]) -> str:
        whole, hyphenated = match[1] + match[2], f"{match[1]}-{match[2]}"
        if not (match[1][-1].isalpha() and match[2][0].islower()):
            return hyphenated  # 1914-1918, Coleridge-Taylor
        return hyphenated if hyphenated in words and whole not in words else whole

    return _CUT_WORD.sub(joined, text)
