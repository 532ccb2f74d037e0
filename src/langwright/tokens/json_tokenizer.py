"""Tokenizers in the form of Hugging Face's `tokenizer.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from langwright.errors import BadInput, Damaged, LangwrightError, Unsupported
from langwright.tokens.tokenizer import Tokenizer


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: character -> byte value."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    pairs = [(chr(byte), byte) for byte in plain]
    pairs += [(chr(256 + index), byte) for index, byte in enumerate(others)]
    return dict(pairs)


BYTE_OF = _byte_alphabet()
_MOST_IDS = 2**24


class JsonTokenizer(Tokenizer):
    """A byte-level BPE tokenizer in the form of Hugging Face's `tokenizer.json`.

    Some vocabularies, such as SmolLM2's, lack a few bytes; a text with those is refused.
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
        ids = [*spec["model"]["vocab"].values(), *self.special.values()]
        if "" in self.special or not all(0 <= token < _MOST_IDS for token in ids):
            raise Damaged(
                "The tokenizer has a token without a name, or an id out of range.",
                remedy="Fetch or train it again.",
            )
        # The core knows no special token, so no text can summon one.
        core = {**self.spec, "added_tokens": [], "truncation": None, "padding": None}
        core["post_processor"] = None
        self._core = tokenizers.Tokenizer.from_str(json.dumps(core))
        self._bytes = self._token_bytes()
        self._spelt = bytes(BYTE_OF[char] for char in BYTE_OF.keys() & spec["model"]["vocab"])

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

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores."""
        try:
            encodings = self._core.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            raise BadInput(
                "The text holds a lone surrogate, which UTF-8 cannot carry.",
                remedy="Decode the source with the right encoding.",
            ) from None
        if len(self._spelt) < 256:
            self._check_spelling(texts)
        return [encoding.ids for encoding in encodings]

    def _check_spelling(self, texts: Sequence[str]) -> None:
        """`tokenizers` drops, without a word, the bytes that a vocabulary lacks."""
        for text in texts:
            if text.encode().translate(None, self._spelt):
                char = next(char for char in text if char.encode().translate(None, self._spelt))
                raise BadInput(
                    f"The tokenizer has no token for the character {char!r} (U+{ord(char):04X}).",
                    remedy="Leave it out of the text.",
                )

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


def read_tokenizer(path: Path) -> JsonTokenizer:
    """The tokenizer of a `tokenizer.json`.

    Raises `BadInput` where there is none, `Damaged` for what is not one, `Unsupported` for a kind
    that is not built.
    """
    try:
        return JsonTokenizer(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BadInput(f"There is no {path}.", remedy="Give a model's folder.") from None
    except LangwrightError:
        raise
    except Exception as error:  # `tokenizers` raises no narrower one
        raise Damaged(
            f"{path} is not a tokenizer: {error}.", remedy="Fetch or train it again."
        ) from None


def _is_byte_level(spec: Mapping[str, Any]) -> bool:
    """Bytes in, the same bytes out: no normaliser, and no blank put before the text."""
    decoder, splitter = spec.get("decoder") or {}, spec.get("pre_tokenizer") or {}
    before = [splitter, *splitter.get("pretokenizers", [])]
    after = [decoder, *decoder.get("decoders", [])]
    return (
        spec.get("normalizer") is None
        and all("ByteLevel" in [part.get("type") for part in parts] for parts in (before, after))
        and not any(part.get("add_prefix_space") for part in before)
    )
