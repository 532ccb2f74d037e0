"""One spelling for text that looks the same."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

from langwright.text.document import Document

_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
_NON_BREAKING = dict.fromkeys((0x00A0, 0x2007, 0x202F), " ")
_TABLE = _CONTROLS | _NON_BREAKING


def normalise(text: str) -> str:
    """`text` by these rules; applying them twice changes nothing more.

    1. The line ends CRLF and CR become LF.
    2. Control characters (Unicode category Cc) other than LF and TAB are dropped.
    3. The non-breaking spaces U+00A0, U+2007 and U+202F become spaces.
    4. Characters are composed (Unicode NFC).
    5. White space at the end of lines is dropped.
    6. Three or more LF in a row become two: one empty line.
    7. White space at both ends of the text is dropped.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_TABLE)
    # After the controls are gone: one between a letter and its accent would keep them apart.
    text = unicodedata.normalize("NFC", text)
    # Not a regular expression, which takes quadratic time on a long run of spaces.
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


@dataclass(frozen=True)
class Normalise:
    """`normalise` as a step of cleaning."""

    name: str = "normalise"
    source: str = "Unicode NFC; one kind of line end, of blank and of empty line"

    def __call__(self, document: Document) -> Document:
        return replace(document, text=normalise(document.text))
