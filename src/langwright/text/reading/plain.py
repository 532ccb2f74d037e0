"""A file of plain text: one document."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from langwright.errors import BadInput
from langwright.progress import say
from langwright.text.document import Document
from langwright.text.reading.input import Input
from langwright.text.reading.rich.decoding import decode
from langwright.text.reading.rich.gutenberg import strip

# The mark of UTF-32 begins with that of UTF-16, so it is looked for first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read(file: Input) -> Iterator[Document]:
    """The whole text; of a Gutenberg book what lies between its markers."""
    raw = file.read_bytes()
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    if encoding is not None:
        try:
            whole, guessed = raw.decode(encoding), None
        except UnicodeDecodeError as error:
            raise BadInput(
                f"{file} begins as {encoding.upper()}, but is none: {error.reason} at byte"
                f" {error.start}.",
                remedy="Get a sound copy, or remove it.",
            ) from None
        if "\0" in whole:
            raise BadInput(
                f"{file} is binary, not text: there is a NUL in it, read as {encoding.upper()}.",
                remedy="Remove it.",
            )
    else:
        file.refuse_binary(raw)
        whole, guessed = decode(raw, file)
    text, title, licence = strip(whole)
    if guessed:
        say(f"read {file.name} as {guessed} (guessed)")
    if text.strip():
        yield Document(text, file.name, title, licence)
