"""Rows of tokens with their mask, gathered into micro-batches."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from langwright.model import IGNORED, Decoder
from langwright.text import PackedRow


@dataclass(frozen=True)
class Row:
    """One sequence. `learn[i]` says whether token i is a target; None: all but the first are.
    `source` says where it comes from."""

    ids: np.ndarray
    learn: np.ndarray | None = None
    source: str = ""


@dataclass(frozen=True)
class MicroBatch:
    """`ids_BT` and, shifted by one, `targets_BT` with IGNORED where nothing is learnt.

    `units`: number of target tokens; `places_N`: where they lie in the flattened batch, None for
    everywhere. `lengths`: those of the documents (and the padding) of packed rows, row after row;
    None: a row is one document. `sizes`: how many places of each row are no padding; None: all.
    """

    ids_BT: Tensor
    targets_BT: Tensor
    units: int
    places_N: Tensor | None = None
    lengths: tuple[int, ...] | None = None
    sizes: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        ids: np.ndarray,
        targets: np.ndarray,
        lengths: tuple[int, ...] | None = None,
        sizes: tuple[int, ...] | None = None,
    ) -> MicroBatch:
        """The batch of these arrays, both [B, T]."""
        places = np.flatnonzero(targets != IGNORED)
        return cls(
            torch.from_numpy(ids),
            torch.from_numpy(targets),
            len(places),
            None if len(places) == targets.size else torch.from_numpy(places),
            lengths,
            sizes,
        )

    @property
    def tokens(self) -> int:
        """Number of tokens read, padding left out."""
        return self.ids_BT.numel() if self.sizes is None else sum(self.sizes)

    def to(self, device: torch.device) -> MicroBatch:
        """The same batch there."""
        if self.ids_BT.device.type == device.type:
            return self
        parts = (self.ids_BT, self.targets_BT, self.places_N)
        ids, targets, places = (
            None if part is None else part.pin_memory().to(device, non_blocking=True)
            for part in parts
        )
        assert ids is not None
        assert targets is not None
        return replace(self, ids_BT=ids, targets_BT=targets, places_N=places)


def gather(rows: Sequence[Row], micro_batch_tokens: int) -> list[MicroBatch]:
    """Rows of like length side by side, padded on the right, at most so many tokens in each."""
    ordered = sorted(rows, key=lambda row: len(row.ids))
    batches: list[MicroBatch] = []
    while ordered:
        longest = len(ordered[-1].ids)
        count = max(1, micro_batch_tokens // (longest - 1))
        taken, ordered = ordered[-count:], ordered[:-count]
        ids = np.zeros((len(taken), longest), dtype=np.int64)
        targets = np.full((len(taken), longest), IGNORED, dtype=np.int64)
        for line, row in enumerate(taken):
            length = len(row.ids)
            ids[line, :length] = row.ids
            learn = np.ones(length, dtype=bool) if row.learn is None else row.learn
            targets[line, :length] = np.where(learn, row.ids, IGNORED)
        sizes = tuple(len(row.ids) - 1 for row in taken)
        batches.append(MicroBatch.of(ids[:, :-1], targets[:, 1:].copy(), sizes=sizes))
    return batches


def pack(rows: Sequence[Row], context_length: int) -> list[PackedRow]:
    """Rows of at most `context_length` inputs side by side, each apart from the others: the
    longest first, each into the fullest packed row that has room for it (best-fit decreasing)."""
    packed: list[list[Row]] = []
    room: list[tuple[int, int]] = []  # of each packed row, sorted: (how much, which)
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        size = len(row.ids) - 1
        place = bisect_left(room, (size, 0))
        if place < len(room):
            left, index = room.pop(place)
            packed[index].append(row)
        else:
            left, index = context_length, len(packed)
            packed.append([row])
        insort(room, (left - size, index))
    return [_side_by_side(together) for together in packed]


def _side_by_side(rows: Sequence[Row]) -> PackedRow:
    learn = [np.ones(len(row.ids), bool) if row.learn is None else row.learn for row in rows]
    targets = [np.where(mask, row.ids, IGNORED)[1:] for mask, row in zip(learn, rows, strict=True)]
    return PackedRow(
        np.concatenate([row.ids[:-1] for row in rows]).astype(np.int64),
        np.concatenate(targets).astype(np.int64),
        tuple(len(row.ids) - 1 for row in rows),
    )


def gather_packed(
    rows: Sequence[PackedRow], context_length: int, micro_batch_tokens: int
) -> list[MicroBatch]:
    """Packed rows, each padded to `context_length`, at most so many tokens in each batch; empty
    ones are left out."""
    # Rows of one whole document lie together: attention takes them in one call.
    filled = [row for row in rows if row.lengths]
    ordered = sorted(filled, key=lambda row: (len(row.lengths), -row.lengths[0]))
    count = max(1, micro_batch_tokens // context_length)
    batches: list[MicroBatch] = []
    for start in range(0, len(ordered), count):
        taken = ordered[start : start + count]
        ids = np.zeros((len(taken), context_length), dtype=np.int64)
        targets = np.full((len(taken), context_length), IGNORED, dtype=np.int64)
        lengths: list[int] = []
        for line, row in enumerate(taken):
            size = len(row.inputs)
            ids[line, :size], targets[line, :size] = row.inputs, row.targets
            lengths += row.lengths
            if size < context_length:
                lengths.append(context_length - size)
        sizes = tuple(len(row.inputs) for row in taken)
        batches.append(MicroBatch.of(ids, targets, tuple(lengths), sizes))
    return batches


def documents(batch: MicroBatch, decode: Callable[[list[int]], str]) -> list[dict[str, Any]]:
    """The documents of a batch without the padding, for people: `ids`, `targets` (IGNORED where
    nothing is learnt) and the `text` of the ids."""
    rows, length = batch.ids_BT.shape
    lengths = list(batch.lengths or (length,) * rows)
    parts = (tensor.flatten().split(lengths) for tensor in (batch.ids_BT, batch.targets_BT))
    found = []
    for ids, targets in zip(*parts, strict=True):
        learnt = (targets != IGNORED).nonzero()
        if len(learnt):
            end = int(learnt[-1]) + 1
            shown = ids[:end].tolist()
            found.append({"ids": shown, "targets": targets[:end].tolist(), "text": decode(shown)})
    return found


def next_token_loss(module: nn.Module, batch: MicroBatch) -> Tensor:
    """Sum over the target tokens of -log p(token), in nats, computed in float32."""
    assert isinstance(module, Decoder)
    return module.nll(batch.ids_BT, batch.targets_BT, batch.lengths, batch.places_N)
