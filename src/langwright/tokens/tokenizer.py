"""The tokenizer: text to ids and back, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from langwright.errors import BadInput, Damaged, Unsupported


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: character -> byte value."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    pairs = [(chr(byte), byte) for byte in plain]
    pairs += [(chr(256 + index), byte) for index, byte in enumerate(others)]
    return dict(pairs)


BYTE_OF = _byte_alphabet()


class Tokenizer:
    """A byte-level BPE tokenizer in the form of Hugging Face's `tokenizer.json`.

    `encode` treats the text of special tokens as ordinary text: only a chat template, or
    `allow_special`, emits them. decode(encode(text)) == text for every text.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = dict(spec)
        if (spec.get("model") or {}).get("type") != "BPE" or not _is_byte_level(spec):
            raise Unsupported(
                "Only byte-level BPE tokenizers are built.",
                remedy="Use a model with a GPT-2, Llama-3 or Qwen2 style tokenizer.",
            )
        self.special: dict[str, int] = {
            token["content"]: token["id"] for token in spec.get("added_tokens", [])
        }
        # The core knows no special token, so no text can summon one.
        core = {**self.spec, "added_tokens": [], "truncation": None, "padding": None}
        core["post_processor"] = None
        self._core = tokenizers.Tokenizer.from_str(json.dumps(core))
        self._bytes = self._token_bytes()

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise BadInput(f"There is no {path}.", remedy="Give a model's folder.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(
                f"{path} is not a tokenizer: {error}.", remedy="Fetch or train it again."
            ) from None

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.spec, ensure_ascii=False, indent=1), encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """Number of ids; ids run from 0 to vocab_size - 1."""
        return len(self._bytes)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over what decides the ids: vocabulary, merges, splitting and special tokens."""
        parts = {key: self.spec.get(key) for key in ("model", "normalizer", "pre_tokenizer")}
        parts["special"] = sorted(self.special.items(), key=lambda item: item[1])
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Ids of `text`. Lone surrogates, which no UTF-8 text has, raise `BadInput`."""
        if not allow_special:
            return self.encode_batch([text])[0]
        ids: list[int] = []
        for piece, special in split_special(text, self.special):
            ids.extend([self.special[piece]] if special else self.encode(piece))
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores."""
        try:
            encodings = self._core.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            raise BadInput(
                "The text holds a lone surrogate, which UTF-8 cannot carry.",
                remedy="Decode the source with the right encoding.",
            ) from None
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one id stands for (of a special token: its name)."""
        if not 0 <= token < len(self._bytes):
            raise BadInput(
                f"There is no token {token}; ids run from 0 to {len(self._bytes) - 1}.",
                remedy="Use ids of this tokenizer.",
            )
        return self._bytes[token]

    def _token_bytes(self) -> list[bytes]:
        vocabulary: dict[str, int] = {**self.spec["model"]["vocab"], **self.special}
        table = [b""] * (max(vocabulary.values(), default=-1) + 1)
        for piece, token in vocabulary.items():
            if piece in self.special or not all(char in BYTE_OF for char in piece):
                table[token] = piece.encode()
            else:
                table[token] = bytes(BYTE_OF[char] for char in piece)
        return table


def split_special(text: str, special: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Cut `text` at the names of special tokens, longest first: (piece, is special)."""
    pieces: list[tuple[str, bool]] = []
    names = sorted(special, key=len, reverse=True)
    while text:
        places = [(text.find(name), -len(name), name) for name in names if name in text]
        if not places:
            pieces.append((text, False))
            break
        start, _, name = min(places)
        if start:
            pieces.append((text[:start], False))
        pieces.append((name, True))
        text = text[start + len(name) :]
    return pieces


def _is_byte_level(spec: Mapping[str, Any]) -> bool:
    decoder = spec.get("decoder") or {}
    kinds = [decoder.get("type"), *(part.get("type") for part in decoder.get("decoders", []))]
    return "ByteLevel" in kinds and spec.get("normalizer") is None
