"""The key-value cache: fixed slots, one sequence in each."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from langwright.model.architecture import Architecture


class KVCache:
    """Keys and values of up to `num_slots` sequences of at most `length` tokens.

    Legend: L layers, S slots, K kv heads, C length, D head_dim. `lengths[s]` is the number of
    tokens that slot s holds; a forward pass over some slots writes behind it and advances it.
    """

    def __init__(
        self, shape: Architecture, num_slots: int, length: int, dtype: torch.dtype
    ) -> None:
        size = (shape.num_layers, num_slots, shape.num_kv_heads, length, shape.head_dim)
        self.k_LSKCD = _zeros(size, dtype)
        self.v_LSKCD = _zeros(size, dtype)
        self.lengths = [0] * num_slots
        self.length = length

    def rows(self, slots: list[int], num_new: int) -> CacheRows:
        """The view of `slots` for a pass of `num_new` tokens each."""
        return CacheRows(self, slots, num_new)


def _zeros(size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros whose memory is taken only where it is written (torch.zeros touches all of it).

    Zeros, not garbage: a masked key has weight 0, and 0 times a stray NaN would be NaN.
    """
    raw = np.zeros(math.prod(size) * dtype.itemsize, dtype=np.uint8)
    return torch.from_numpy(raw).view(dtype).view(size)


class CacheRows:
    """What attention sees of a cache in one pass: where to write, and which keys are in sight."""

    def __init__(self, cache: KVCache, slots: list[int], num_new: int) -> None:
        starts = torch.tensor([cache.lengths[slot] for slot in slots])
        self._cache = cache
        self._slots = torch.tensor(slots)
        # Neighbouring slots are read as a view; others have to be gathered.
        together = slots == list(range(slots[0], slots[0] + len(slots)))
        self._read = slice(slots[0], slots[0] + len(slots)) if together else self._slots
        self.positions_BT = starts[:, None] + torch.arange(num_new)
        self._end = int(self.positions_BT.max()) + 1
        assert self._end <= cache.length, "the engine admits no sequence longer than its slot"
        self._masks: dict[int | None, Tensor] = {}

    def mask(self, window: int | None) -> Tensor:
        """Which keys each query sees, [B, 1, T, C]: at position p those of 0..p of its own slot, or
        the last `window` of them. Not torch's `is_causal`, which aligns the triangle top-left and
        so hides the past when there is a cache."""
        if window not in self._masks:
            keys, queries = torch.arange(self._end), self.positions_BT[..., None]
            seen = keys <= queries
            self._masks[window] = (seen if window is None else seen & (keys > queries - window))[
                :, None
            ]
        return self._masks[window]

    def update(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values; return all in sight, [B, K, C, D]."""
        cache, where = self._cache, (self._slots[:, None], slice(None), self.positions_BT)
        cache.k_LSKCD[layer][where] = k_BKTD.transpose(1, 2)
        cache.v_LSKCD[layer][where] = v_BKTD.transpose(1, 2)
        keys = cache.k_LSKCD[layer][self._read, :, : self._end]
        values = cache.v_LSKCD[layer][self._read, :, : self._end]
        return keys, values

    def advance(self) -> None:
        for slot, end in zip(self._slots.tolist(), self.positions_BT[:, -1].tolist(), strict=True):
            self._cache.lengths[slot] = end + 1
