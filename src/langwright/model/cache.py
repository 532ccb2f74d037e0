"""The key-value cache: fixed slots, one sequence in each."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from langwright.model.architecture import Architecture


class KeysInSight(Protocol):
    """What attention asks of a pass that is not simply causal: where its tokens stand, which keys
    each sees, and what becomes of the new ones. `CacheRows` is one."""

    positions_BT: Tensor

    def mask(self, window: int | None) -> Tensor: ...

    def update(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]: ...

    def advance(self) -> None: ...


class KVCache:
    """Keys and values of up to `num_slots` sequences of at most `length` tokens.

    Legend: L layers, S slots, K kv heads, C length, D head_dim. `lengths[s]` is the number of
    tokens that slot s holds; a forward pass over some slots writes behind it and advances it.
    """

    def __init__(
        self,
        shape: Architecture,
        num_slots: int,
        length: int,
        dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> None:
        size = (shape.num_layers, num_slots, shape.num_kv_heads, length, shape.head_dim)
        self.k_LSKCD = zeros(size, dtype, device)
        self.v_LSKCD = zeros(size, dtype, device)
        self.lengths = [0] * num_slots
        self.length = length

    def rows(self, slots: list[int], num_new: int, padding: list[int] | None = None) -> CacheRows:
        """The view of `slots` for a pass of `num_new` tokens each, of which the first
        `padding[row]` are none and leave no trace: rows of several lengths, ended alike."""
        return CacheRows(self, slots, num_new, padding or [0] * len(slots))

    def fork(self, slot: int, into: list[int]) -> None:
        """Let the slots `into` hold what `slot` holds, to be continued in other ways."""
        end = self.lengths[slot]
        for table in (self.k_LSKCD, self.v_LSKCD):
            table[:, into, :, :end] = table[:, slot, None, :, :end]
        for other in into:
            self.lengths[other] = end

    def take(self, other: KVCache) -> None:
        """Hold in the first slots what the slots of a smaller cache hold."""
        for slot, end in enumerate(other.lengths):
            self.k_LSKCD[:, slot, :, :end] = other.k_LSKCD[:, slot, :, :end]
            self.v_LSKCD[:, slot, :, :end] = other.v_LSKCD[:, slot, :, :end]
            self.lengths[slot] = end


def zeros(size: tuple[int, ...], dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """Zeros; on the processor their memory is taken only where it is written (torch.zeros touches
    all of it).

    Zeros, not garbage: a masked key has weight 0, and 0 times a stray NaN would be NaN.
    """
    if device is not None and device.type != "cpu":
        return torch.zeros(size, dtype=dtype, device=device)
    raw = np.zeros(math.prod(size) * dtype.itemsize, dtype=np.uint8)
    return torch.from_numpy(raw).view(dtype).view(size)


def seen_keys(positions_BT: Tensor, length: int, window: int | None) -> Tensor:
    """Which of `length` keys each query sees, [B, 1, T, C]: at position p those of 0..p of its own
    sequence, or the last `window` of them. Not torch's `is_causal`, which aligns the triangle
    top-left and so hides the past when there is a cache."""
    keys, queries = torch.arange(length, device=positions_BT.device), positions_BT[..., None]
    seen = keys <= queries
    return (seen if window is None else seen & (keys > queries - window))[:, None]


class CacheRows:
    """What attention sees of a cache in one pass: where to write, and which keys are in sight."""

    def __init__(self, cache: KVCache, slots: list[int], num_new: int, padding: list[int]) -> None:
        assert all(0 <= one < num_new for one in padding), "each row has a token"
        device = cache.k_LSKCD.device
        starts = torch.tensor([cache.lengths[slot] for slot in slots], device=device)
        self._cache = cache
        self._slots = torch.tensor(slots, device=device)
        # Neighbouring slots are read as a view; others have to be gathered.
        together = slots == list(range(slots[0], slots[0] + len(slots)))
        self._read = slice(slots[0], slots[0] + len(slots)) if together else self._slots
        places = torch.arange(num_new, device=device)
        places = places - torch.tensor(padding, device=device)[:, None]
        self._real_BT = places >= 0 if any(padding) else None
        # Padding is put at a position that there is; what becomes of it is written nowhere.
        self.positions_BT = (starts[:, None] + places).clamp(min=0)
        self._end = int(self.positions_BT.max()) + 1
        assert self._end <= cache.length, "the engine admits no sequence longer than its slot"
        self._masks: dict[int | None, Tensor] = {}

    def mask(self, window: int | None) -> Tensor:
        """Which keys each query sees, [B, 1, T, C]."""
        if window not in self._masks:
            self._masks[window] = seen_keys(self.positions_BT, self._end, window)
        return self._masks[window]

    def update(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values; return all in sight, [B, K, C, D]."""
        cache, slots, places = self._cache, self._slots[:, None], self.positions_BT
        k_BTKD, v_BTKD = k_BKTD.transpose(1, 2), v_BKTD.transpose(1, 2)
        if self._real_BT is not None:
            slots, places = slots.expand_as(places)[self._real_BT], places[self._real_BT]
            k_BTKD, v_BTKD = k_BTKD[self._real_BT], v_BTKD[self._real_BT]
        cache.k_LSKCD[layer][slots, :, places] = k_BTKD
        cache.v_LSKCD[layer][slots, :, places] = v_BTKD
        keys = cache.k_LSKCD[layer][self._read, :, : self._end]
        values = cache.v_LSKCD[layer][self._read, :, : self._end]
        return keys, values

    def advance(self) -> None:
        for slot, end in zip(self._slots.tolist(), self.positions_BT[:, -1].tolist(), strict=True):
            self._cache.lengths[slot] = end + 1
