"""The unit of a corpus: one text, with where it comes from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


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

    @classmethod
    def from_line(cls, line: bytes) -> Document:
        """A line of a corpus artifact, which is the store's own JSON and needs no checking."""
        row = json.loads(line)
        return cls(row["text"], row["source"], row.get("title"), row.get("licence"))

    def to_line(self) -> bytes:
        """One line of JSON in UTF-8, without the line end."""
        kept = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps(kept, ensure_ascii=False).encode()
