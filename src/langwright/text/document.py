"""The unit of a corpus: one text, with where it comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """One text of a corpus.

    `source` says where it comes from (a file, a line of a file, an address), `title` and
    `licence` are None where unknown.
    """

    text: str
    source: str
    title: str | None = None
    licence: str | None = None

    @property
    def full_text(self) -> str:
        """What is trained on: the title, an empty line and the text, or the text alone."""
        return f"{self.title}\n\n{self.text}" if self.title else self.text

    @property
    def digest(self) -> str:
        """SHA-256 of `full_text` in UTF-8, as hexadecimal digits."""
        return hashlib.sha256(self.full_text.encode()).hexdigest()
