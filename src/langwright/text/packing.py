"""Documents packed whole into rows of one length: best-fit, nothing cropped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput, BadSettings

Ints = npt.NDArray[np.int64]
Pattern = tuple[tuple[int, int], ...]
"""What a row holds: (length, how many of it), and so on."""


@dataclass(frozen=True)
class PackedRow:
    """Documents side by side; `lengths` are theirs, in order, and sum to the number of tokens.

    `inputs` and `targets` are int64 [tokens], shifted by one inside each document: it is entered
    with the end-of-document token (as at evaluation) and left by predicting its own. Every
    position has a target; what is missing to a full row is for the batch to fill.
    """

    inputs: Ints
    targets: Ints
    lengths: tuple[int, ...]


class Packing:
    """The rows of a token stream, in the order of training: a pure function of seed and index.

    `tokens` [num_tokens] holds documents, each with its end-of-document token, that begin at
    `offsets` [num_documents + 1]. A document longer than `context_length` is cut into pieces of
    that length and a rest. An epoch holds every piece, hence every token as a target, exactly
    once. Which lengths are in a row depends on the lengths alone (`best_fit`); which of the
    pieces of a length are, and the order of the rows, are drawn anew in each epoch.
    `stream` tells the orders of several corpora under one seed apart.

    Documents in `left_out`, by their numbers, are in no row; all others are where they would be
    with them, so that a row may be short or empty. Takes about 40 bytes a piece. Raises `BadInput`
    for a stream that fills no row.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.integer[Any]],
        offsets: Ints,
        context_length: int,
        seed: int,
        stream: int = 0,
        left_out: Collection[int] = (),
    ) -> None:
        if context_length < 1 or seed < 0:
            raise BadSettings(
                f"No packing has context_length {context_length} and seed {seed}.",
                remedy="Give at least 1 and 0.",
            )
        if len(tokens) < context_length:
            raise BadInput(
                f"The corpus has {len(tokens)} tokens, fewer than one context window of"
                f" {context_length}.",
                remedy="Add more text, or set a smaller context_length.",
            )
        self.tokens = tokens
        self.context_length = context_length
        self._key = (seed, stream)
        self._offsets = offsets
        self._starts, self._lengths = pieces(offsets, context_length)
        self._trained = self._lengths
        """Of each piece, how many tokens a row takes."""
        if left_out:
            gone = np.isin(self._numbers(self._starts), list(left_out))
            self._trained = np.where(gone, 0, self._lengths).astype(np.int32)
        self._num_trained = int(self._trained.sum(dtype=np.int64))
        counts = np.bincount(self._lengths, minlength=context_length + 1)
        self._slots, self._edges = _places(best_fit(counts.tolist(), context_length), len(counts))
        self.num_rows = len(self._edges) - 1
        """In one epoch."""
        self._epoch = -1
        self._pieces = self._order = np.empty(0, dtype=np.int64)

    @property
    def efficiency(self) -> float:
        """Trained tokens / paid positions, over one epoch."""
        return self._num_trained / (self.num_rows * self.context_length)

    def row(self, index: int) -> PackedRow:
        """The row of that index, counted from 0 through all epochs."""
        chosen = self._chosen(index)
        starts, lengths = self._starts[chosen], self._lengths[chosen].astype(np.int64)
        ends = lengths.cumsum()
        targets = np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths)
        # One before the first of a document stands the end of another; before all, the last.
        return PackedRow(
            self.tokens[targets - 1].astype(np.int64),
            self.tokens[targets].astype(np.int64),
            tuple(lengths.tolist()),
        )

    def documents(self, index: int) -> list[int]:
        """The numbers of the documents in that row, as `lengths` has them; no token is read."""
        numbers: list[int] = self._numbers(self._starts[self._chosen(index)]).tolist()
        return numbers

    def tokens_before(self, index: int) -> int:
        """How many tokens the rows before that index train."""
        epochs, rest = divmod(index, self.num_rows)
        count = epochs * self._num_trained
        if rest:
            self._draw(epochs)
            sizes = self._trained[self._pieces][self._slots]
            filled = np.add.reduceat(sizes, self._edges[:-1])
            count += int(filled[self._order[:rest]].sum(dtype=np.int64))
        return count

    def _chosen(self, index: int) -> Ints:
        """The pieces in a row."""
        if index < 0:
            raise ValueError(f"row {index} is before the first")
        epoch, place = divmod(index, self.num_rows)
        self._draw(epoch)
        row = self._order[place]
        chosen = self._pieces[self._slots[self._edges[row] : self._edges[row + 1]]]
        return chosen[self._trained[chosen] > 0]

    def _numbers(self, starts: Ints) -> Ints:
        """Of which documents the pieces that begin there are."""
        return np.searchsorted(self._offsets, starts, side="right") - 1

    def _draw(self, epoch: int) -> None:
        if epoch != self._epoch:
            seed, stream = self._key
            # Only raw bits: numpy promises them to be the same in every version, but not
            # what `Generator.permutation` makes of them, and an old run must resume exactly.
            bits = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(stream, epoch)))
            self._pieces = np.lexsort((bits.random_raw(len(self._lengths)), self._lengths))
            self._order = np.argsort(bits.random_raw(self.num_rows), kind="stable")
            self._epoch = epoch


def pieces(offsets: Ints, context_length: int) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Where the pieces of the documents begin, and their lengths, each [pieces]."""
    each = -(-np.diff(offsets) // context_length)
    first = np.repeat(each.cumsum() - each, each)
    starts = np.repeat(offsets[:-1], each) + (np.arange(len(first)) - first) * context_length
    lengths = np.minimum(context_length, np.repeat(offsets[1:], each) - starts)
    return starts, lengths.astype(np.int32)


def best_fit(counts: list[int], context_length: int) -> list[tuple[int, Pattern]]:
    """Best-fit decreasing: (how many rows, what each holds), for `counts[length]` pieces.

    The longest first, each into the fullest row that has room for it. Exactly that, though rows
    that hold the same are one entry, and pieces of one length are placed together: the work
    depends on the number of different lengths and not on that of pieces. (The histogram is the
    idea of Krell et al. 2021, arXiv 2107.02027, whose heuristic is another.)
    """
    alike: list[list[tuple[int, Pattern]]] = [[] for _ in range(context_length + 1)]
    open_ = 0  # bit r: there are rows with room for r tokens

    def put(rows: int, pattern: Pattern, room: int) -> None:
        nonlocal open_
        if rows:
            alike[room].append((rows, pattern))
            open_ |= 1 << room

    for length in range(context_length, 0, -1):
        left = counts[length]
        while left:
            if wide := open_ >> length:
                room = length + (wide & -wide).bit_length() - 1
                rows, pattern = alike[room].pop()
                if not alike[room]:
                    open_ ^= 1 << room
            else:
                room, pattern = context_length, ()
                rows = -(-left // (room // length))
            # A row that has just taken one is the fullest with room for the next.
            most = room // length
            full = min(rows, left // most)
            put(full, (*pattern, (length, most)), room - most * length)
            left, rows = left - full * most, rows - full
            if left and rows:
                put(1, (*pattern, (length, left)), room - left * length)
                left, rows = 0, rows - 1
            put(rows, pattern, room)
    return [group for groups in alike for group in groups]


def _places(groups: list[tuple[int, Pattern]], num_lengths: int) -> tuple[Ints, Ints]:
    """Row r holds, of the pieces sorted by length, number slots[edges[r] : edges[r + 1]]."""
    of_length: list[list[Ints]] = [[] for _ in range(num_lengths)]
    first = 0
    for rows, pattern in groups:
        for length, many in pattern:
            of_length[length].append(np.repeat(np.arange(first, first + rows), many))
        first += rows
    row_of_slot = np.concatenate([part for parts in of_length for part in parts])
    slots = np.argsort(row_of_slot, kind="stable")
    edges = np.concatenate([[0], np.bincount(row_of_slot, minlength=first).cumsum()])
    return slots, edges
