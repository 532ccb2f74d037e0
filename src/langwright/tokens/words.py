"""How many words a text has, where its script shows them."""

from __future__ import annotations

import re

# Thai, Lao, Burmese, Khmer, the kana, Han.
_WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_LETTER = re.compile(r"[^\W\d_]")
_PIECE = re.compile(r'[^\s,;:()\[\]{}<>"=+*/|&]+')
_MARK = re.compile(r"\w")


def count_words(text: str) -> int | None:
    """Runs that hold a letter or a digit, between white space, commas, brackets and operators:
    words, numbers, and in code names.

    None where most letters are of scripts that put no blanks between words: there, how many there
    are depends on whom one asks.
    """
    if 2 * len(_WITHOUT_BLANKS.findall(text)) > len(_LETTER.findall(text)):
        return None
    return sum(1 for piece in _PIECE.finditer(text) if _MARK.search(piece[0]))
