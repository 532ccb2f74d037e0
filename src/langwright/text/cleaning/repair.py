"""Repair of text that was decoded with the wrong encoding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from langwright.errors import Unsupported
from langwright.text.document import Document


@lru_cache(maxsize=1)
def _ftfy() -> tuple[Any, Any]:
    try:
        import ftfy
    except ImportError:
        raise Unsupported(
            "Unicode repair needs ftfy.", remedy="pip install 'langwright[text]'"
        ) from None
    # Quotes and full-width letters are the author's own; only what is broken is repaired. Line
    # ends and control characters are the business of `normalise`, entities that of the reader.
    settings = ftfy.TextFixerConfig(
        unescape_html=False,
        uncurl_quotes=False,
        fix_character_width=False,
        fix_latin_ligatures=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )
    return ftfy.fix_text, settings


@dataclass(frozen=True)
class Repair:
    """Undo mojibake: "schÃ¶n" becomes "schön". Text that is whole stays as it is."""

    name: str = "repair"
    source: str = "ftfy (Speer 2019)"

    def __call__(self, document: Document) -> Document:
        # Mojibake is never plain ASCII but for the escapes of a terminal, which are repaired too.
        if document.text.isascii() and "\x1b" not in document.text:
            return document
        fix_text, settings = _ftfy()
        text = fix_text(document.text, settings)
        return document if text == document.text else replace(document, text=text)
