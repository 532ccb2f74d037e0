"""One decode step of several slots."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from langwright.model import Adapters, Decoder, KVCache


class Decoding:
    """Reads one token behind each of some slots and gives the logits of the next, by torch."""

    def __init__(
        self,
        module: Decoder,
        num_tokens: int,
        adapters: Adapters | None = None,
        *,
        deterministic: bool = False,
    ) -> None:
        self.module, self.adapters = module, adapters
        self._num_tokens, self._deterministic = num_tokens, deterministic

    @torch.inference_mode()
    def read(
        self, cache: KVCache, slot: int, ids: Sequence[int], adapter: str | None, last: int
    ) -> Tensor | None:
        """Read `ids` behind what the slot holds; the logits of the `last` of them, [last, V]."""
        with self._using([adapter]):
            hidden = self.module.hidden(torch.tensor([list(ids)]), cache.rows([slot], len(ids)))
        return self._logits(hidden[0, len(ids) - last :]) if last else None

    @torch.inference_mode()
    def step(
        self,
        cache: KVCache,
        slots: Sequence[int],
        ids: Sequence[int],
        adapters: Sequence[str | None],
    ) -> Tensor:
        """Read `ids[i]` behind what slot `slots[i]` holds; the logits of the next, [B, V]."""
        if self._deterministic and len(slots) > 1:
            # torch's products of matrices differ by a bit with the number of rows.
            alone = zip(slots, ids, adapters, strict=True)
            return torch.cat([self.step(cache, [s], [i], [a]) for s, i, a in alone])
        with self._using(adapters):
            rows = cache.rows(list(slots), 1)
            hidden = self.module.hidden(torch.tensor(ids)[:, None], rows)
        return self._logits(hidden[:, 0])

    @torch.inference_mode()
    def check(
        self,
        cache: KVCache,
        slots: Sequence[int],
        ids: Sequence[Sequence[int]],
        adapters: Sequence[str | None],
    ) -> list[Tensor]:
        """Read several tokens behind each slot; the logits behind each of them, [T, V] a slot."""
        longest = max(map(len, ids))
        padding = [longest - len(row) for row in ids]
        padded = [[0] * pad + list(row) for pad, row in zip(padding, ids, strict=True)]
        with self._using(adapters):
            rows = cache.rows(list(slots), longest, padding)
            hidden = self.module.hidden(torch.tensor(padded), rows)
        return [self._logits(row[pad:]) for row, pad in zip(hidden, padding, strict=True)]

    def _logits(self, hidden_BE: Tensor) -> Tensor:
        """Rows of the table that are no token are ruled out."""
        return self.module.head(hidden_BE)[:, : self._num_tokens].float()

    def _using(self, adapters: Sequence[str | None]) -> AbstractContextManager[None]:
        if self.adapters is None or not any(adapters):
            return nullcontext()
        return self.adapters.use(list(adapters))
