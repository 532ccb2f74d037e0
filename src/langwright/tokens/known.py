"""The encodings that OpenAI published: gpt2, cl100k_base, o200k_base.

Their ranks lie in the store after `langwright pull NAME`. They are checked by the hashes that
tiktoken checks, and encoded by tiktoken.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import tiktoken

from langwright.errors import BadInput, Damaged
from langwright.tokens.json_tokenizer import JsonTokenizer
from langwright.tokens.spelling import BYTE_OF
from langwright.tokens.splits import SPLITS
from langwright.tokens.tokenizer import Tokenizer

_LONG_BLANKS = re.compile(r"\s{100000}")
"""tiktoken's engine runs out of its stack on a million blanks in a row, and panics."""


@dataclass(frozen=True)
class Known:
    """One encoding: the file of its ranks with that file's sha256, its split, its specials."""

    file: str
    sha256: str
    split: str
    special: Mapping[str, int]


KNOWN = {
    "gpt2": Known(
        "vocab.bpe",
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        "gpt2",
        {"<|endoftext|>": 50256},
    ),
    "cl100k_base": Known(
        "cl100k_base.tiktoken",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        "cl100k",
        {
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
    "o200k_base": Known(
        "o200k_base.tiktoken",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "o200k",
        {"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
}


def encoding_for(model: str) -> str | None:
    """The encoding of an OpenAI model ("gpt-4o", "openai/gpt-4o"), by tiktoken's own table; None
    where it is not in there."""
    from tiktoken.model import encoding_name_for_model

    try:
        return encoding_name_for_model(model.removeprefix("openai/"))
    except KeyError:
        return None


def read_known(folder: Path) -> RankTokenizer | None:
    """The known encoding whose ranks lie in `folder`; None where there are none.

    Raises `Damaged` for ranks that are not the published ones.
    """
    for name, known in KNOWN.items():
        path = folder / known.file
        if path.is_file():
            raw = path.read_bytes()
            found = hashlib.sha256(raw).hexdigest()
            if found != known.sha256:
                raise Damaged(
                    f"{path} has the sha256 {found}; that of {name} is {known.sha256}.",
                    remedy=f"Pull it again: `langwright remove {name}`, `langwright pull {name}`.",
                )
            ranks = _gpt2_ranks(raw) if name == "gpt2" else _ranks(raw)
            return RankTokenizer(name, ranks)
    return None


def _ranks(raw: bytes) -> dict[bytes, int]:
    """Lines of a token in base64 and its rank."""
    pairs = (line.split() for line in raw.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def _gpt2_ranks(raw: bytes) -> dict[bytes, int]:
    """The bytes in the order of GPT-2's alphabet, then a token a merge."""
    ranks = {bytes([byte]): rank for rank, byte in enumerate(BYTE_OF.values())}
    for line in raw.decode().splitlines()[1:]:  # the first line names the version
        ranks[bytes(BYTE_OF[char] for char in line if char != " ")] = len(ranks)
    return ranks


class RankTokenizer(Tokenizer):
    """Byte-level BPE by ranks: of two neighbours, those merge first whose joint rank is least."""

    def __init__(self, name: str, ranks: Mapping[bytes, int]) -> None:
        known = KNOWN[name]
        self.name, self.special, self._ranks = name, dict(known.special), ranks
        self._split = SPLITS[known.split]
        self._core = tiktoken.Encoding(
            name, pat_str=self._split, mergeable_ranks=dict(ranks), special_tokens=self.special
        )
        self._bytes = [b""] * (max(*ranks.values(), *self.special.values()) + 1)
        for piece, rank in ranks.items():
            self._bytes[rank] = piece
        for special, rank in self.special.items():
            self._bytes[rank] = special.encode()

    @property
    def vocab_size(self) -> int:
        """Number of ids; a few of cl100k_base and o200k_base stand for nothing."""
        return len(self._bytes)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over what decides the ids: ranks, splitting and special tokens."""
        parts = (KNOWN[self.name].sha256, self._split, sorted(self.special.items()))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores."""
        for text in texts:
            if not text.isascii():
                try:
                    text.encode()  # tiktoken would put U+FFFD in place of what UTF-8 cannot carry
                except UnicodeEncodeError:
                    raise BadInput(
                        "The text holds a lone surrogate, which UTF-8 cannot carry.",
                        remedy="Decode the source with the right encoding.",
                    ) from None
        if any(_LONG_BLANKS.search(text) for text in texts):
            return self.as_json.encode_batch(texts)
        if len(texts) == 1:
            return [self._core.encode_ordinary(texts[0])]
        return self._core.encode_ordinary_batch(list(texts), num_threads=os.cpu_count() or 1)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one id stands for (of a special token: its name; of a gap: none)."""
        if not 0 <= token < len(self._bytes):
            raise BadInput(
                f"There is no token {token}; ids run from 0 to {len(self._bytes) - 1}.",
                remedy="Use ids of this tokenizer.",
            )
        return self._bytes[token]

    def save(self, path: Path) -> None:
        """Write it in the form of Hugging Face's `tokenizer.json`."""
        self.as_json.save(path)

    @cached_property
    def as_json(self) -> JsonTokenizer:
        """The same tokenizer with its merges written out; takes seconds."""
        from tokenizers import Tokenizer as Core
        from tokenizers import decoders, models

        from langwright.tokens.bpe import split_by, with_special_tokens

        char_of = {byte: char for char, byte in BYTE_OF.items()}

        def spelt(piece: bytes) -> str:
            return "".join(char_of[byte] for byte in piece)

        vocabulary = {spelt(piece): rank for piece, rank in self._ranks.items()}
        merges = [(spelt(left), spelt(right)) for left, right in _merges(self._ranks)]
        # A piece that is a token is that token for tiktoken, whether merges lead there or not.
        core = Core(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
        core.pre_tokenizer = split_by(self._split)
        core.decoder = decoders.ByteLevel()
        spec: dict[str, Any] = with_special_tokens(core, self.special)
        return JsonTokenizer(spec)


def _merges(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """The merge that makes each token, in the order of the ranks: what it is just before its own
    rank comes up."""
    for piece, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([byte]) for byte in piece]
        while len(parts) > 2:
            joint = [ranks.get(a + b, rank) for a, b in pairwise(parts)]
            least = min(joint)
            if least >= rank:
                break
            at = joint.index(least)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            yield parts[0], parts[1]
