from __future__ import annotations

from pathlib import Path

import pytest

from langwright.text.reading.rich.gutenberg import COPYRIGHTED, LICENCE, strip

SMALL_PRINT = """The Project Gutenberg Etext of The Mill, by A. Miller

Please take a look at the important information in this header.

*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*

Etext prepared by a volunteer,
with a friend.

THE MILL

It turned.

End of the Project Gutenberg Etext of The Mill, by A. Miller
"""


def test_a_real_book_is_what_stands_between_gutenbergs_markers(data: Path) -> None:
    text = (data / "books" / "sherlock.txt").read_text(encoding="utf-8")
    book, title, licence = strip(text)
    lines = text.split("\n")
    # Lines 25-26 and 11957 of the file are the markers.
    assert book == "\n".join(lines[26:11956]).strip() + "\n"
    assert book.startswith("The Adventures of Sherlock Holmes\n\nby Arthur Conan Doyle")
    assert "gutenberg" not in book.lower()
    assert (title, licence) == ("The Adventures of Sherlock Holmes", LICENCE)


@pytest.mark.parametrize("name", ["ulysses.md", "war-and-peace.txt", "wizard_of_oz.txt"])
def test_a_book_without_the_markers_is_left_alone(data: Path, name: str) -> None:
    text = (data / "books" / name).read_text(encoding="utf-8")
    assert strip(text) == (text, None, None)


def test_the_older_form_with_small_print() -> None:
    assert strip(SMALL_PRINT) == ("THE MILL\n\nIt turned.\n", "The Mill", LICENCE)


@pytest.mark.parametrize(
    "marker",
    [
        "*** START OF THIS PROJECT GUTENBERG EBOOK THE MILL ***",
        "***START OF THE PROJECT GUTENBERG EBOOK THE MILL***",
        "*** START OF THE PROJECT GUTENBERG EBOOK 4 ***",
        "*** START OF THE PROJECT GUTENBERG ETEXT THE MILL\r\nON THE RIVER ***",
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_all_forms_of_the_markers(marker: str, line_end: str) -> None:
    text = (
        f"Title: The Mill\n  on the River\nAuthor: M\n\n{marker}\n\nProduced by X\nand Y.\n\n\n"
        "It turned.\n\n\nEnd of Project Gutenberg's The Mill, by M\n\n"
        f"{marker.replace('START', 'END')}\n\nTHE FULL LICENSE"
    )
    found = strip(text.replace("\r\n", "\n").replace("\n", line_end))
    assert found == ("It turned.\n", "The Mill on the River", LICENCE)


def test_a_book_under_copyright_is_not_called_public_domain() -> None:
    header = "This is a COPYRIGHTED Project Gutenberg eBook, details below.\nTitle: New\n\n"
    text = f"{header}*** START OF THE PROJECT GUTENBERG EBOOK NEW ***\nIt turned."
    assert strip(text) == ("It turned.\n", "New", COPYRIGHTED)


def test_a_text_that_only_speaks_of_gutenberg_is_left_alone() -> None:
    text = "The line '*** START OF THE PROJECT GUTENBERG EBOOK X ***' begins a book."
    assert strip(text) == (text, None, None)
    text = "It began.\n\nEnd of Project Gutenberg's dream, they said.\n\nIt went on.\n"
    assert strip(text) == (text, None, None)


def test_the_words_of_the_end_far_from_it_belong_to_the_book() -> None:
    story = "End of Project Gutenberg's dream, they said.\n\n" + "It turned on and on.\n" * 100
    marker = "*** {} OF THE PROJECT GUTENBERG EBOOK THE MILL ***\n"
    assert strip(marker.format("START") + story + marker.format("END"))[0] == story
