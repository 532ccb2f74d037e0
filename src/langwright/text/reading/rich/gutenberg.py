"""Project Gutenberg's books without the licence around them."""

from __future__ import annotations

import re

LICENCE = "Public domain in the USA (Project Gutenberg)"
COPYRIGHTED = "Copyrighted (Project Gutenberg)"

_BOOK = r"PROJECT GUTENBERG(?:'S|’S|\(TM\)|™)? (?:E-?BOOK|E-?TEXT|EDITION)"
# A marker may run over several lines where the title is long.
_START = re.compile(rf"^\*\*\* ?START OF (?:THE |THIS )?{_BOOK}[^*]{{0,400}}\*\*\*", re.M | re.I)
_END = re.compile(rf"^\*\*\* ?END OF (?:THE |THIS )?{_BOOK}", re.M | re.I)
# Books before about 2003: the licence ("small print") ends with one of these lines.
_SMALL_PRINT = re.compile(r"^\*END ?\*? ?THE SMALL PRINT![^\n]*$", re.M | re.I)
_OLD_END = re.compile(
    r"^(?:\*\*\* ?)?End of (?:the |this |The |This )?Project Gutenberg(?:'s|’s)?"
    r"(?: E-?book| E-?text)?\b",
    re.M | re.I,
)
_CREDIT = re.compile(
    r"(?:Produced by|E-?text prepared by|This e-?(?:text|book) was (?:produced|prepared)"
    r"|Transcribed from|\[?Transcribed by|Note: Project Gutenberg also has)\b",
    re.I,
)
_TITLE = re.compile(r"^Title:[ \t]*(\S[^\n]*(?:\n[ \t]+\S[^\n]*)*)", re.M)
_FIRST_LINE = re.compile(
    r"Project Gutenberg(?:'s|’s)? (?:E-?book |E-?text )?(?:of )?(.{1,300}?)(?:,? by\b|\n\s*\n)",
    re.I | re.S,
)


def strip(text: str) -> tuple[str, str | None, str | None]:
    """The book without Gutenberg's licence, its title and its licence; `(text, None, None)` for
    what is no Gutenberg book.

    What lies between the lines `*** START OF … ***` and `*** END OF …` is the book, as Gutenberg
    itself says; in older ones, what lies between the small print and "End of Project Gutenberg's".
    The credits of those who typed it, which follow the first line, are dropped too; the book's own
    title page and notes of its transcribers stay.
    """
    start = _START.search(text) or _SMALL_PRINT.search(text)
    end = _END.search(text, start.end() if start else 0)
    if start is None and end is None:
        return text, None, None
    header = text[: start.start()] if start else ""
    book = text[start.end() if start else 0 : end.start() if end else len(text)]
    # Newer books end with both lines; in the book itself the words could only be quoted.
    tail = max(0, len(book) - (25_000 if end is None else 1_000))
    if last := _OLD_END.search(book, tail):
        book = book[: last.start()]
    book = book.strip()
    for _ in range(3):  # no book has more
        if _CREDIT.match(book):
            _, *rest = re.split(r"\n[ \t\r]*\n", book, maxsplit=1)
            book = "".join(rest).strip()
    licence = COPYRIGHTED if "COPYRIGHTED Project Gutenberg" in header else LICENCE
    return book + "\n", _title(header), licence


def _title(header: str) -> str | None:
    found = _TITLE.search(header) or _FIRST_LINE.search(header)
    return " ".join(found[1].split()) or None if found else None
