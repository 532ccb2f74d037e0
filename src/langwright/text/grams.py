"""Word n-grams as numbers: what near duplicates and contamination are found by."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_FACTOR = 0x9E3779B97F4A7C15
"""Odd, so that multiplying by it loses nothing modulo 2^64."""


def simple_words(text: str) -> list[str]:
    """The words of `text` in lower case, without accents and punctuation."""
    bare = unicodedata.normalize("NFD", text.lower())
    return re.findall(r"\w+", "".join(c for c in bare if not unicodedata.combining(c)))


def gram_hashes(words: list[str], n: int) -> Hashes:
    """A 64-bit hash for each run of `n` words, uint64 [len(words) - n + 1]; the same everywhere."""
    hashes = np.array([_hash(word) for word in words], dtype=np.uint64)
    count = max(0, len(hashes) - n + 1)
    total = np.zeros(count, dtype=np.uint64)
    for place in range(n):  # modulo 2^64, as numpy's unsigned numbers are
        total = total * np.uint64(_FACTOR) + hashes[place : place + count]
    # Mixed, since the sum keeps the order of the last word's low bits.
    total ^= total >> np.uint64(31)
    total *= np.uint64(0xBF58476D1CE4E5B9)
    return total ^ (total >> np.uint64(29))


@lru_cache(maxsize=2**17)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
