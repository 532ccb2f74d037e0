"""The tokenizer: text to ids and back."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any


class Tokenizer(ABC):
    """What every kind of tokenizer can do.

    `encode` treats the text of special tokens as ordinary text: only a chat template, or
    `allow_special`, emits them. Where `lossless`, decode(encode(text)) == text for every text
    that the vocabulary can spell, and the bytes of the tokens, joined, are the text's UTF-8.
    """

    special: dict[str, int]
    """Name -> id of the special tokens."""
    lossless: bool = True

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of ids; ids run from 0 to vocab_size - 1."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 over what decides the ids."""

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores."""

    @abstractmethod
    def token_bytes(self, token: int) -> bytes:
        """The bytes that one id stands for (of a special token: its name)."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write it in the form of Hugging Face's `tokenizer.json`."""

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Ids of `text`. Lone surrogates, which no UTF-8 text has, and characters that the
        vocabulary cannot spell raise `BadInput`."""
        if not allow_special:
            return self.encode_batch([text])[0]
        ids: list[int] = []
        for piece, special in split_special(text, self.special):
            ids.extend([self.special[piece]] if special else self.encode(piece))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")


def split_special(text: str, special: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Cut `text` at the names of special tokens, longest first: (piece, is special)."""
    if not special:
        return [(text, False)] if text else []
    pieces = _pattern(tuple(special)).split(text)  # between two names lies a text, maybe empty
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]


@cache
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
