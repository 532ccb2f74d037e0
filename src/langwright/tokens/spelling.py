"""What text the tokens of a `tokenizer.json` stand for, and whether all of it comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Spec = Mapping[str, Any]

MARK = "▁"
"""SentencePiece's stand-in for a blank (U+2581)."""

BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""What byte fallback spells characters with that the vocabulary lacks."""

_KEEP_ALL = {"ByteLevel", "Digits", "Metaspace", "Punctuation", "Split"}
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: character -> byte value."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    pairs = [(chr(byte), byte) for byte in plain]
    pairs += [(chr(256 + index), byte) for index, byte in enumerate(others)]
    return dict(pairs)


BYTE_OF = _byte_alphabet()


@dataclass(frozen=True)
class Spelling:
    """How tokens spell text.

    - `bytes`: in GPT-2's alphabet of bytes (byte-level BPE).
    - `marked`: with `MARK` for blanks and `BYTE_TOKENS` for what the vocabulary lacks
      (SentencePiece); either may be missing.
    - `words`: words, and with `##` their continuations (WordPiece); blanks are lost.
    - `plain`: as it stands (word level); blanks are lost.

    Where `adds_blank`, a blank is put before the text, and taken off again by decoding.
    """

    kind: Literal["bytes", "marked", "words", "plain"]
    lossless: bool
    adds_blank: bool
    fallback: bool
    marks: bool

    @classmethod
    def of(cls, spec: Spec) -> Spelling:
        model = spec["model"]
        normalizers = list(_parts(spec.get("normalizer"), "normalizers"))
        splitters = list(_parts(spec.get("pre_tokenizer"), "pretokenizers"))
        decoders = list(_parts(spec.get("decoder"), "decoders"))
        types = {part["type"] for part in decoders}
        kept = all(
            part["type"] in _KEEP_ALL and part.get("behavior") != "Removed" for part in splitters
        )
        if "ByteLevel" in types:
            adds = any(part.get("add_prefix_space") for part in splitters)
            spelt = "ByteLevel" in {part["type"] for part in splitters} and kept
            same = not normalizers and not adds and spelt and model["type"] == "BPE"
            return cls("bytes", same, False, False, False)
        marks = "Metaspace" in types or any(map(_marks_to_blanks, decoders))
        if marks or "ByteFallback" in types:
            adds = any(part["type"] == "Prepend" for part in normalizers)
            adds |= any(part["type"] == "Metaspace" and _prepends(part) for part in splitters)
            fallback = bool(model.get("byte_fallback")) and set(BYTE_TOKENS) <= set(_pieces(model))
            harmless = all(
                part["type"] == "Prepend" or (marks and _blanks_to_marks(part))
                for part in normalizers
            )
            # Where it is put before each piece between phrases, it cannot be told from the text's.
            phrases = any(not token["special"] for token in spec.get("added_tokens", []))
            same = fallback and harmless and kept and not (adds and phrases)
            return cls("marked", same, adds, fallback, marks)
        words = model["type"] == "WordPiece" or "WordPiece" in types
        return cls("words" if words else "plain", False, False, False, False)

    def bytes_of(self, piece: str) -> bytes:
        """The bytes that a piece of the vocabulary stands for."""
        if self.kind == "bytes" and all(char in BYTE_OF for char in piece):
            return bytes(BYTE_OF[char] for char in piece)
        if self.fallback and (found := _BYTE.fullmatch(piece)):
            return bytes([int(found[1], 16)])
        if self.marks:
            return piece.replace(MARK, " ").encode()
        if self.kind == "words":
            return piece.removeprefix("##").encode()
        return piece.encode()


def _pieces(model: Spec) -> Iterator[str]:
    vocabulary = model["vocab"]
    return iter(vocabulary) if isinstance(vocabulary, dict) else (row[0] for row in vocabulary)


def _parts(part: Spec | None, within: str) -> Iterator[Spec]:
    """The part, or the parts of a sequence."""
    if part is None:
        return
    if part["type"] == "Sequence":
        for each in part[within]:
            yield from _parts(each, within)
    else:
        yield part


def _blanks_to_marks(part: Spec) -> bool:
    return part["type"] == "Replace" and (part["pattern"], part["content"]) == (
        {"String": " "},
        MARK,
    )


def _marks_to_blanks(part: Spec) -> bool:
    return part["type"] == "Replace" and (part["pattern"], part["content"]) == (
        {"String": MARK},
        " ",
    )


def _prepends(metaspace: Spec) -> bool:
    if "prepend_scheme" in metaspace:
        return bool(metaspace["prepend_scheme"] != "never")
    return bool(metaspace.get("add_prefix_space", True))
