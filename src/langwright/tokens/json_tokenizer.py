"""Tokenizers in the form of Hugging Face's `tokenizer.json`."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from langwright.errors import BadInput, Damaged, LangwrightError
from langwright.tokens.bpe import special_token
from langwright.tokens.spelling import BYTE_OF, MARK, Spelling
from langwright.tokens.tokenizer import Tokenizer

_MOST_IDS = 2**24


class JsonTokenizer(Tokenizer):
    """Any tokenizer in the form of Hugging Face's `tokenizer.json`, run by `tokenizers`.

    Byte-level BPE, BPE and Unigram with byte fallback, WordPiece, word level, each with its own
    normaliser and splitting. Special tokens are those that the file marks as special; other added
    tokens, such as runs of blanks, are found in any text. A character that the vocabulary has no
    token for becomes its unknown token where it has one; else it is refused, as it would be lost.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = dict(spec)
        added = list(spec.get("added_tokens", []))
        model = spec["model"]
        listed = model["vocab"]
        if not isinstance(listed, dict):  # Unigram: rows of (piece, score)
            listed = {piece: index for index, (piece, _) in enumerate(listed)}
        self._vocabulary: dict[str, int] = listed
        self.special = {token["content"]: token["id"] for token in added if token["special"]}
        ids = [*listed.values(), *(token["id"] for token in added)]
        named = all(token["content"] for token in added)
        if not named or not all(0 <= token < _MOST_IDS for token in ids):
            raise Damaged(
                "The tokenizer has a token without a name, or an id out of range.",
                remedy="Fetch or train it again.",
            )
        self._spelling = Spelling.of(spec)
        self.lossless = self._spelling.lossless
        self._core = self._build(guarded=True)
        self._table = [""] * (max(ids, default=-1) + 1)
        self._bytes = [b""] * len(self._table)
        for token in added:
            self._table[token["id"]] = token["content"]
            self._bytes[token["id"]] = token["content"].encode()
        for piece, index in listed.items():
            self._table[index] = piece
            if piece not in self.special:
                self._bytes[index] = self._spelling.bytes_of(piece)
        self._alphabet = self._find_alphabet()

    def _build(self, *, guarded: bool) -> tokenizers.Tokenizer:
        """The library's tokenizer; a guarded one takes special tokens in a text for ordinary."""
        spec = {**self.spec, "truncation": None, "padding": None, "post_processor": None}
        model = self.spec["model"]
        if guarded and model["type"] != "BPE":
            # These models hold special tokens as words like any other: no text may meet them.
            hidden = set(self.special) - {model.get("unk_token")}
            if model["type"] == "Unigram":
                # Its scores stay, as the unknown's depends on them; nobody can guess its new name.
                rows = [
                    [secrets.token_hex(16) if piece in hidden else piece, score]
                    for piece, score in model["vocab"]
                ]
                spec["model"] = {**model, "vocab": rows}
            else:
                vocabulary = model["vocab"].items()
                kept = {piece: index for piece, index in vocabulary if piece not in hidden}
                spec["model"] = {**model, "vocab": kept}
            added = self.spec.get("added_tokens", [])
            spec["added_tokens"] = [token for token in added if not token["special"]]
        core = _understood(spec)
        core.encode_special_tokens = guarded
        return core

    def with_special(self, *names: str) -> JsonTokenizer:
        """The same with these special tokens behind its own, where they are not among them."""
        missing = [name for name in names if name not in self.special]
        rows = [special_token(name, self.vocab_size + index) for index, name in enumerate(missing)]
        added = [*self.spec.get("added_tokens", []), *rows]
        return JsonTokenizer({**self.spec, "added_tokens": added}) if rows else self

    @property
    def start_id(self) -> int | None:
        """The token that its file has others put before a text, if it is exactly one."""
        if self.spec.get("post_processor") is None:
            return None
        spec = {**self.spec, "truncation": None, "padding": None}
        put = _understood(spec).encode("").ids
        return put[0] if len(put) == 1 else None

    def with_start(self, token: int | None) -> JsonTokenizer:
        """The same, told to others to put `token` before a text; None: to put nothing."""
        if token == self.start_id:
            return self
        processor: dict[str, Any] | None = None
        if token is not None:
            name = self._table[token]
            start = {"SpecialToken": {"id": name, "type_id": 0}}
            text, second = ({"Sequence": {"id": part, "type_id": 0}} for part in "AB")
            processor = {
                "type": "TemplateProcessing",
                "single": [start, text],
                "pair": [start, text, second],
                "special_tokens": {name: {"id": name, "ids": [token], "tokens": [name]}},
            }
        return JsonTokenizer({**self.spec, "post_processor": processor})

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.spec, ensure_ascii=False, indent=1), encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """Number of ids; ids run from 0 to vocab_size - 1."""
        return len(self._bytes)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over what decides the ids: vocabulary, merges, splitting and added tokens."""
        parts = {key: self.spec.get(key) for key in ("model", "normalizer", "pre_tokenizer")}
        parts["special"] = sorted(self.special.items(), key=lambda item: item[1])
        ordinary = [token for token in self.spec.get("added_tokens", []) if not token["special"]]
        if ordinary:
            parts["added"] = ordinary
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        if allow_special and self._spelling.adds_blank:
            # In pieces, each would get a blank of its own.
            _check_unicode([text])
            return self._unguarded.encode(text, add_special_tokens=False).ids
        return super().encode(text, allow_special=allow_special)

    @cached_property
    def _unguarded(self) -> tokenizers.Tokenizer:
        return self._build(guarded=False)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores."""
        try:
            encodings = self._core.encode_batch_fast(list(texts), add_special_tokens=False)
        except Exception as error:  # `tokenizers` raises no narrower one
            _check_unicode(texts)
            raise BadInput(
                f"The tokenizer cannot encode the text: {error}.",
                remedy="It lacks a token for the unknown: leave out what it does not know.",
            ) from None
        if self._alphabet is not None:
            self._check_alphabet(texts, self._alphabet)
        return [encoding.ids for encoding in encodings]

    def _find_alphabet(self) -> frozenset[str] | frozenset[int] | None:
        """The bytes or characters that can be spelt, where others would be dropped in silence."""
        model = self.spec["model"]
        if model["type"] != "BPE" or model.get("unk_token") is not None or self._spelling.fallback:
            return None
        single = {piece for piece in self._vocabulary if len(piece) == 1}
        if self._spelling.kind != "bytes":
            return frozenset(single)
        known = frozenset(BYTE_OF[char] for char in single & BYTE_OF.keys())
        return None if len(known) == 256 else known

    def _check_alphabet(
        self, texts: Sequence[str], alphabet: frozenset[str] | frozenset[int]
    ) -> None:
        normalizer = self._core.normalizer
        for text in texts:
            seen = normalizer.normalize_str(text) if normalizer else text
            if self._spelling.marks:
                seen = seen.replace(" ", MARK)
            for char in dict.fromkeys(seen):
                parts = char.encode() if self._spelling.kind == "bytes" else (char,)
                if not alphabet.issuperset(parts):
                    raise BadInput(
                        f"The tokenizer has no token for the character {char!r}"
                        f" (U+{ord(char):04X}).",
                        remedy="Leave it out of the text.",
                    )

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one id stands for (of a special token: its name)."""
        self._check(token)
        return self._bytes[token]

    def _check(self, token: int) -> None:
        if not 0 <= token < len(self._bytes):
            raise BadInput(
                f"There is no token {token}; ids run from 0 to {len(self._bytes) - 1}.",
                remedy="Use ids of this tokenizer.",
            )

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; bytes that are not UTF-8 become U+FFFD. Word kinds put the blanks where
        their file says."""
        if self._spelling.kind in ("bytes", "marked"):
            text = super().decode(ids)
            first = self._spelling.adds_blank and ids and ids[0] not in self.special.values()
            return text.removeprefix(" ") if first else text
        for token in ids:
            self._check(token)
        pieces = [self._table[token] for token in ids]
        decoder = self._core.decoder
        return decoder.decode(pieces) if decoder else " ".join(pieces)


def read_tokenizer(path: Path) -> JsonTokenizer:
    """The tokenizer of a `tokenizer.json`.

    Raises `BadInput` where there is none, `Damaged` for what is not one.
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


def _understood(spec: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """What `tokenizers` makes of a `tokenizer.json`; raises `Damaged`."""
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(spec))
    except BaseException as error:
        # `tokenizers` raises no narrower one, and where it panics not even an Exception.
        if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
            raise
        raise Damaged(
            f"The tokenizer is not understood: {error}.", remedy="Fetch or train it again."
        ) from None


def _check_unicode(texts: Sequence[str]) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadInput(
                "The text holds a lone surrogate, which UTF-8 cannot carry.",
                remedy="Decode the source with the right encoding.",
            ) from None
