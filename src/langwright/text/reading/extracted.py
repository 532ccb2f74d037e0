"""What a format's extractor finds in a file, before it is known where the file lies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extracted:
    """A text taken out of a file.

    `part` names a piece of the file (a chapter, a page address); the document's source is then
    `name#part`. `encoding` is given where it had to be guessed, so that it can be reported.
    """

    text: str
    title: str | None = None
    licence: str | None = None
    part: str | None = None
    encoding: str | None = None
