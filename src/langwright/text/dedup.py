"""Duplicates, exact and near (Broder 1997).

A deduplicator turns each document into a signature, anywhere and in any order, and then all
signatures, in the order of the corpus, into the list of those to drop. What must be brought
together is sorted by SQLite, on disk: memory holds its cache and, for near duplicates, two numbers
for each document that has any.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from langwright.text.document import Document
from langwright.text.grams import Hashes, gram_hashes, simple_words

_CACHE_KIB = 16 * 1024
_ROWS_TOGETHER = 10_000
_PRIME = np.uint64(2**31 - 1)
_NONE = np.empty(0, dtype=np.uint64)


@runtime_checkable
class Deduplicator(Protocol):
    """Pure and picklable; `source` says where the method is from."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str: ...

    def signature(self, document: Document) -> bytes: ...

    def drops(self, signatures: Iterable[bytes], scratch: Path) -> Iterator[tuple[int, int]]:
        """(index of a document to drop, index of an earlier one that it is like), rising by the
        first. What does not fit in memory goes to a file in `scratch`, gone in the end."""


class ExactDedup:
    """Keeps the first of the documents whose texts are equal once blanks are evened out."""

    name = "exact"
    source = "SHA-256 of the text, each run of white space as one blank"

    def signature(self, document: Document) -> bytes:
        return hashlib.sha256(" ".join(document.text.split()).encode()).digest()[:16]

    def drops(self, signatures: Iterable[bytes], scratch: Path) -> Iterator[tuple[int, int]]:
        rows = ((signature, index) for index, signature in enumerate(signatures))
        with closing(_Sorted(scratch / "exact.sqlite", rows)) as found:
            yield from found.followers()


class MinHashDedup:
    """Keeps the first of each cluster of documents that share much of their word 5-grams.

    Words are those of the text in lower case without accents and punctuation; a text of fewer than
    5 words is one shingle. Two documents whose sets of shingles have Jaccard similarity s share a
    band of 8 minima with probability s^8, and one of 14 bands with P = 1 - (1 - s^8)^14: 0.05 at
    0.5, 0.77 at 0.75, 0.92 at 0.8, 0.99 at 0.85. Sharing a band is enough, and is passed on: what
    is like a duplicate is a duplicate. (FineWeb's settings, Penedo et al. 2024, section 3.4.)
    """

    name = "minhash"
    source = "MinHash, 14 bands of 8 over word 5-grams (Broder 1997; Penedo et al. 2024)"
    n = 5
    bands = 14
    rows = 8

    def signature(self, document: Document) -> bytes:
        """A hash for each band, 8 bytes each; empty for a text without a word."""
        minima = self.minima(shingles(document.text, self.n))
        if minima is None:
            return b""
        parts = minima.reshape(self.bands, self.rows)
        digests = (hashlib.blake2b(part.tobytes(), digest_size=8).digest() for part in parts)
        return b"".join(digests)

    def minima(self, hashes: Hashes) -> Hashes | None:
        """The smallest value of each permutation over the shingles, uint64 [bands * rows]."""
        if not len(hashes):
            return None
        factors, terms = _permutations(self.bands * self.rows)
        least = np.full(len(factors), _PRIME, dtype=np.uint64)
        for start in range(0, len(hashes), 4096):
            # Factors and values are below 2^31, so the products stay below 2^62.
            part = hashes[start : start + 4096] % _PRIME
            values = (part[:, None] * factors + terms) % _PRIME
            least = np.minimum(least, values.min(axis=0))
        return least

    def drops(self, signatures: Iterable[bytes], scratch: Path) -> Iterator[tuple[int, int]]:
        def rows() -> Iterator[tuple[bytes, int]]:
            for index, signature in enumerate(signatures):
                for band in range(len(signature) // 8):
                    yield bytes([band]) + signature[8 * band : 8 * band + 8], index

        first: dict[int, int] = {}  # only of documents that have duplicates

        def root(index: int) -> int:
            while (above := first.get(index, index)) != index:
                first[index] = first.get(above, above)
                index = above
            return index

        with closing(_Sorted(scratch / "minhash.sqlite", rows())) as found:
            for index, leader in found.followers():
                one, other = sorted((root(index), root(leader)))
                first[other] = one
        for index in sorted(first):
            if (kept := root(index)) != index:
                yield index, kept


def shingles(text: str, n: int) -> Hashes:
    """Hashes of the word n-grams of `text`, each once, sorted; of the whole where it is shorter."""
    words = simple_words(text)
    return np.unique(gram_hashes(words, min(n, len(words)))) if words else _NONE


@cache
def _permutations(count: int) -> tuple[Hashes, Hashes]:
    """Factors and terms of (a x + b) mod 2^31 - 1, drawn once and for all."""
    bits = np.random.Philox(np.random.SeedSequence(1997)).random_raw(2 * count)
    return bits[:count] % (_PRIME - np.uint64(1)) + np.uint64(1), bits[count:] % _PRIME


class _Sorted:
    """Pairs (key, index) brought together by key, on disk."""

    def __init__(self, path: Path, rows: Iterable[tuple[bytes, int]]) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        self._base = sqlite3.connect(path)
        run: Any = self._base.execute
        # It is thrown away after use, so nothing protects it from a crash.
        run("PRAGMA journal_mode = OFF")
        run("PRAGMA synchronous = OFF")
        run(f"PRAGMA cache_size = -{_CACHE_KIB}")
        run("PRAGMA temp_store = FILE")
        run("CREATE TABLE rows (key BLOB NOT NULL, place INTEGER NOT NULL)")
        self._base.executemany("INSERT INTO rows VALUES (?, ?)", rows)
        self._base.commit()

    def followers(self) -> Iterator[tuple[int, int]]:
        """(index, smallest index with the same key) for all but the first of each key, rising."""
        asked = (
            "SELECT place, leader FROM (SELECT place, MIN(place) OVER (PARTITION BY key) AS leader"
            " FROM rows) WHERE place > leader ORDER BY place, leader"
        )
        yield from self._base.execute(asked)

    def close(self) -> None:
        self._base.close()
        self._path.unlink(missing_ok=True)
