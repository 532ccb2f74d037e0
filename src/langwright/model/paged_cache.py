"""The key-value cache in pages: blocks of tokens that sequences hold in any order, and share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from langwright.model.architecture import Architecture
from langwright.model.cache import seen_keys, zeros

PAGE = 32
"""Tokens of a block."""


def block_bytes(shape: Architecture, dtype: torch.dtype) -> int:
    """What the keys and values of a block take."""
    return 2 * PAGE * shape.num_layers * shape.num_kv_heads * shape.head_dim * dtype.itemsize


class PagedCache:
    """Keys and values of up to `num_slots` sequences in `num_blocks` blocks of 32 tokens (paged
    attention: Kwon et al. 2023, arXiv 2309.06180).

    Legend: L layers, R rows (one a token, 32 a block), K kv heads, D head_dim. `tables[s]` are the
    blocks of slot s in order, `lengths[s]` its tokens; a pass over some slots takes the blocks that
    its tokens need. A block is free when nobody holds it; when none is, `reclaim` is asked for one
    that somebody can spare.
    """

    def __init__(
        self,
        shape: Architecture,
        num_slots: int,
        num_blocks: int,
        dtype: torch.dtype,
        device: torch.device,
        reclaim: Callable[[], Iterable[int]] = tuple,
    ) -> None:
        size = (shape.num_layers, num_blocks * PAGE, shape.num_kv_heads, shape.head_dim)
        self.k_LRKD = zeros(size, dtype, device)
        self.v_LRKD = zeros(size, dtype, device)
        self.lengths = [0] * num_slots
        self.tables: list[list[int]] = [[] for _ in range(num_slots)]
        self.holders = [0] * num_blocks
        self._free = list(reversed(range(num_blocks)))
        self._reclaim = reclaim

    @property
    def num_free(self) -> int:
        return len(self._free)

    def hold(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            self.holders[block] += 1

    def release(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            self.holders[block] -= 1
            if not self.holders[block]:
                self._free.append(block)

    def take(self) -> int:
        """A block that nobody else holds."""
        if not self._free:
            self.release(self._reclaim())
        assert self._free, "the engine admits no more sequences than there are blocks for"
        block = self._free.pop()
        self.holders[block] = 1
        return block

    def copy(self, block: int) -> int:
        """Another block that holds the same."""
        other = self.take()
        for table in (self.k_LRKD, self.v_LRKD):
            pages = table.view(len(table), -1, PAGE, *table.shape[2:])
            pages[:, other] = pages[:, block]
        return other

    def empty(self, slot: int) -> None:
        """Let go what the slot holds."""
        self.release(self.tables[slot])
        self.tables[slot], self.lengths[slot] = [], 0

    def rows(
        self, slots: Sequence[int], num_new: int, padding: Sequence[int] | None = None
    ) -> PagedRows:
        """As `KVCache.rows`."""
        return PagedRows(self, slots, num_new, padding or [0] * len(slots))


class PagedRows:
    """What attention sees of the pages in one pass (a `KeysInSight`)."""

    def __init__(
        self, cache: PagedCache, slots: Sequence[int], num_new: int, padding: Sequence[int]
    ) -> None:
        assert all(0 <= one < num_new for one in padding), "each row has a token"
        self._cache, self._slots = cache, slots
        starts = [cache.lengths[slot] for slot in slots]
        self._ends = [at + num_new - pad for at, pad in zip(starts, padding, strict=True)]
        for slot, end in zip(slots, self._ends, strict=True):
            table = cache.tables[slot]
            table += [cache.take() for _ in range(-(-end // PAGE) - len(table))]
        device, longest = cache.k_LRKD.device, max(self._ends)
        tables = [cache.tables[slot][: -(-longest // PAGE)] for slot in slots]
        most = max(map(len, tables))
        # What is beyond a shorter sequence is hidden by the mask; any block will do.
        blocks_BM = torch.tensor([[*table, *[0] * (most - len(table))] for table in tables])
        rows_BC = (blocks_BM[..., None] * PAGE + torch.arange(PAGE)).flatten(1)[:, :longest]
        places_BT = torch.arange(num_new) - torch.tensor(list(padding))[:, None]
        positions_BT = (torch.tensor(starts)[:, None] + places_BT).clamp(min=0)
        written_BT, real_BT = rows_BC.gather(1, positions_BT), places_BT >= 0
        # Of the new tokens, flat, those that are none of the padding; None where all are.
        real = real_BT.flatten().nonzero()[:, 0] if any(padding) else None
        self._real = None if real is None else real.to(device)
        self._written = written_BT[real_BT].to(device)
        self._read, self._size = rows_BC.flatten().to(device), rows_BC.shape
        self.positions_BT = positions_BT.to(device)
        self._masks: dict[int | None, Tensor] = {}

    def mask(self, window: int | None) -> Tensor:
        """As `CacheRows.mask`, [B, 1, T, C]."""
        if window not in self._masks:
            self._masks[window] = seen_keys(self.positions_BT, self._size[1], window)
        return self._masks[window]

    def update(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values; return all in sight, [B, K, C, D]."""
        cache = self._cache
        return self._put(cache.k_LRKD[layer], k_BKTD), self._put(cache.v_LRKD[layer], v_BKTD)

    def _put(self, table_RKD: Tensor, new_BKTD: Tensor) -> Tensor:
        new_NKD = new_BKTD.transpose(1, 2).flatten(0, 1)
        if self._real is not None:
            new_NKD = new_NKD[self._real]
        table_RKD.index_copy_(0, self._written, new_NKD)
        return table_RKD.index_select(0, self._read).unflatten(0, self._size).transpose(1, 2)

    def advance(self) -> None:
        for slot, end in zip(self._slots, self._ends, strict=True):
            self._cache.lengths[slot] = end
