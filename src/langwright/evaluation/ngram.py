"""The byte n-gram model: the baseline that a language model must beat to have learnt anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput, BadSettings

END = 256
"""The symbol after the last byte of a document, and the context before its first."""

NUM_SYMBOLS = 257
MAX_ORDER = 7
_BITS = np.uint64(9)

_Keys = npt.NDArray[np.uint64]
_Counts = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Table:
    """The counts of one order; a key packs symbols of 9 bits, the newest lowest.

    `grams` [G] sorted, with `counts` [G]; `contexts` [C] sorted, with `totals` [C], c(h), and
    `types` [C], T(h).
    """

    grams: _Keys
    counts: _Counts
    contexts: _Keys
    totals: _Counts
    types: _Counts

    @classmethod
    def count(cls, keys: _Keys) -> _Table:
        grams, counts = np.unique(keys, return_counts=True)
        # Sorted grams hold the continuations of a context side by side.
        contexts, starts, types = np.unique(grams >> _BITS, return_index=True, return_counts=True)
        return cls(grams, counts, contexts, np.add.reduceat(counts, starts), types)

    def interpolate(self, keys: _Keys, lower: _Floats) -> _Floats:
        """p_n of each key, given p_{n-1}; an unseen context leaves `lower` as it is."""
        totals = _lookup(self.contexts, self.totals, keys >> _BITS)
        types = _lookup(self.contexts, self.types, keys >> _BITS)
        counts = _lookup(self.grams, self.counts, keys)
        return np.where(totals > 0, (counts + types * lower) / np.maximum(totals + types, 1), lower)


class WittenBell:
    """Byte n-grams with interpolated Witten-Bell smoothing.

    p_n(w|h) = (c(h,w) + T(h) p_{n-1}(w|h')) / (c(h) + T(h)), where T(h) is the number of distinct
    symbols seen after h, and p_0 is uniform over the 256 bytes and the end of a document, so that
    no byte is impossible (Witten and Bell 1991, method C; the recursion of Chen and
    Goodman 1998, section 2.5). A context never reaches into the document before: where one is
    still too young for an order, that order's probability is the one of the order below.
    """

    def __init__(self, tables: Sequence[_Table]) -> None:
        self._tables = tuple(tables)

    @property
    def max_order(self) -> int:
        return len(self._tables)

    @classmethod
    def fit(cls, documents: Sequence[bytes], max_order: int = 6) -> WittenBell:
        """Count all orders 1..`max_order` (at most 7, as 7 symbols of 9 bits fill a word)."""
        if not 1 <= max_order <= MAX_ORDER:
            raise BadSettings(
                f"An n-gram order of {max_order} cannot be counted.",
                remedy=f"Choose 1 to {MAX_ORDER}.",
            )
        if not documents:
            raise BadInput("There are no documents to count.", remedy="Give at least one.")
        return cls([_Table.count(keys) for _, keys in _windows(_stream(documents), max_order)])

    def nll(self, documents: Sequence[bytes]) -> _Floats:
        """Negative log-likelihood in nats, [num_documents, max_order]: column n-1 is order n.

        The cost of the end of a document is part of its sum: divide by `len(document)` for nats
        per byte, and by ln 2 more for bits.
        """
        sums = np.zeros((len(documents), self.max_order))
        if not documents:
            return sums
        stream = _stream(documents)
        document_of = np.repeat(np.arange(len(documents)), [len(text) + 1 for text in documents])
        probabilities = np.full(len(document_of), 1 / NUM_SYMBOLS)
        windows = _windows(stream, self.max_order)
        for order, (table, (places, keys)) in enumerate(zip(self._tables, windows, strict=True)):
            probabilities[places] = table.interpolate(keys, probabilities[places])
            sums[:, order] = np.bincount(
                document_of, weights=-np.log(probabilities), minlength=len(documents)
            )
        return sums

    def bits_per_byte(self, documents: Sequence[bytes]) -> float:
        """Of the order that is best on all of `documents`, their ends included."""
        nats = float(self.nll(documents).sum(axis=0).min())
        return nats / math.log(2) / sum(map(len, documents))


def _lookup(keys: _Keys, values: _Counts, wanted: _Keys) -> _Counts:
    """The value of each wanted key, 0 where it is unknown."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def _stream(documents: Sequence[bytes]) -> npt.NDArray[np.uint16]:
    """END, then each document with END after it: one end is also the next one's beginning."""
    ends = np.cumsum([len(document) + 1 for document in documents])
    stream = np.full(ends[-1] + 1, END, np.uint16)
    is_byte = np.ones(len(stream), bool)
    is_byte[0] = False
    is_byte[ends] = False
    stream[is_byte] = np.frombuffer(b"".join(documents), np.uint8)
    return stream


def _windows(
    stream: npt.NDArray[np.uint16], max_order: int
) -> Iterator[tuple[npt.NDArray[np.int64], _Keys]]:
    """For each order, which predictions (stream[1:]) have so long a context, and their keys."""
    symbols = stream.astype(np.uint64)
    keys = symbols[1:].copy()
    places = np.arange(len(keys))
    yield places, keys
    for order in range(2, max_order + 1):
        # The symbol `order - 1` before; END there is a beginning, and nothing lies before it.
        if order > 2:
            reaches = symbols[places - order + 3] != END
            places, keys = places[reaches], keys[reaches]
        keys = keys | (symbols[places - order + 2] << (_BITS * np.uint64(order - 1)))
        yield places, keys
