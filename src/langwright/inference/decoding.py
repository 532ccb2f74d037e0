"""Reading tokens behind what a cache holds: prompts by torch, decode steps by the fastest way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Timer

import torch
from torch import Tensor

from langwright.inference.kernels import MAX_ROWS, DecodeStep, prepare, ready, why_not
from langwright.model import Adapters, Decoder, KVCache
from langwright.progress import say

WORTH_COMPILING = 32 * 2**20
"""Bytes of weights below which torch's own step is fast enough."""


class Decoding:
    """Runs one model over the slots of a cache. `compiled` allows the compiled kernels, where they
    can run the model and it is not tiny; rows with an adapter are always torch's."""

    def __init__(
        self,
        module: Decoder,
        num_tokens: int,
        adapters: Adapters | None = None,
        *,
        deterministic: bool = False,
        compiled: bool = True,
    ) -> None:
        self.module, self.adapters = module, adapters
        self._num_tokens, self._deterministic = num_tokens, deterministic
        self.why_torch = None if compiled else "the settings say so"
        self._bound: tuple[KVCache, DecodeStep] | None = None

    def choose(self) -> str | None:
        """Why decode steps are torch's; None where they are the kernels'."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        if self.why_torch is None and sum(one.nbytes for one in tensors) < WORTH_COMPILING:
            self.why_torch = "the model is tiny"
        if self.why_torch is None:
            self.why_torch = why_not(self.module, self.adapters)
        return self.why_torch

    @torch.inference_mode()
    def read(
        self, cache: KVCache, slot: int, ids: Sequence[int], adapter: str | None, last: int
    ) -> Tensor | None:
        """Read `ids` behind what the slot holds; the logits of the `last` of them, [last, V]."""
        with self._using([adapter]):
            hidden = self.module.hidden(torch.tensor([list(ids)]), cache.rows([slot], len(ids)))
        return self._logits(hidden[0, len(ids) - last :]) if last else None

    def step(
        self,
        cache: KVCache,
        slots: Sequence[int],
        ids: Sequence[int],
        adapters: Sequence[str | None],
    ) -> Tensor:
        """Read `ids[i]` behind what slot `slots[i]` holds; the logits of the next, [B, V]."""
        compiled = self._compiled(cache)
        if compiled is None:
            return self._step_by_torch(cache, slots, ids, adapters)
        if not any(adapters) and len(slots) <= MAX_ROWS:
            return compiled(ids, slots)[:, : self._num_tokens]
        logits = torch.empty(len(slots), self._num_tokens)
        own = [row for row, adapter in enumerate(adapters) if adapter is None]
        for start in range(0, len(own), MAX_ROWS):
            rows = own[start : start + MAX_ROWS]
            found = compiled([ids[row] for row in rows], [slots[row] for row in rows])
            logits[rows] = found[:, : self._num_tokens]
        rest = [row for row, adapter in enumerate(adapters) if adapter is not None]
        if rest:
            logits[rest] = self._step_by_torch(
                cache,
                [slots[row] for row in rest],
                [ids[row] for row in rest],
                [adapters[row] for row in rest],
            )
        return logits

    @torch.inference_mode()
    def _step_by_torch(
        self,
        cache: KVCache,
        slots: Sequence[int],
        ids: Sequence[int],
        adapters: Sequence[str | None],
    ) -> Tensor:
        if self._deterministic and len(slots) > 1:
            # torch's products of matrices differ by a bit with the number of rows.
            alone = zip(slots, ids, adapters, strict=True)
            return torch.cat([self._step_by_torch(cache, [s], [i], [a]) for s, i, a in alone])
        with self._using(adapters):
            rows = cache.rows(list(slots), 1)
            hidden = self.module.hidden(torch.tensor(ids)[:, None], rows)
        return self._logits(hidden[:, 0])

    def check(
        self,
        cache: KVCache,
        slots: Sequence[int],
        ids: Sequence[Sequence[int]],
        adapters: Sequence[str | None],
    ) -> list[Tensor]:
        """Read several tokens behind each slot; the logits behind each of them, [T, V] a slot."""
        compiled = self._compiled(cache)
        if compiled is None or any(adapters):
            return self._check_by_torch(cache, slots, ids, adapters)
        found = []
        for group in _groups([len(row) for row in ids]):
            flat = [token for row in group for token in ids[row]]
            behind = [slots[row] for row in group for _ in ids[row]]
            logits = compiled(flat, behind)[:, : self._num_tokens]
            found += logits.split([len(ids[row]) for row in group])
        return found

    @torch.inference_mode()
    def _check_by_torch(
        self,
        cache: KVCache,
        slots: Sequence[int],
        ids: Sequence[Sequence[int]],
        adapters: Sequence[str | None],
    ) -> list[Tensor]:
        longest = max(map(len, ids))
        padding = [longest - len(row) for row in ids]
        padded = [[0] * pad + list(row) for pad, row in zip(padding, ids, strict=True)]
        with self._using(adapters):
            rows = cache.rows(list(slots), longest, padding)
            hidden = self.module.hidden(torch.tensor(padded), rows)
        return [self._logits(row[pad:]) for row, pad in zip(hidden, padding, strict=True)]

    def _compiled(self, cache: KVCache) -> DecodeStep | None:
        """The kernels, bound to this cache; compiled first where no process has yet."""
        if self._bound is not None and self._bound[0] is cache:
            return self._bound[1]
        if self.choose() is not None:
            return None
        if not ready(self.module):
            words = "Compiling the decode kernels, once on this machine: about half a minute."
            slow = Timer(2.0, say, [words])
            slow.daemon = True
            slow.start()
            try:
                prepare(self.module)
            finally:
                slow.cancel()
        self._bound = cache, DecodeStep(self.module, cache)
        return self._bound[1]

    def release(self) -> None:
        """Let the cache go that the kernels are bound to."""
        self._bound = None

    def _logits(self, hidden_BE: Tensor) -> Tensor:
        """Rows of the table that are no token are ruled out."""
        return self.module.head(hidden_BE)[:, : self._num_tokens].float()

    def _using(self, adapters: Sequence[str | None]) -> AbstractContextManager[None]:
        if self.adapters is None or not any(adapters):
            return nullcontext()
        return self.adapters.use(list(adapters))


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows that the kernels can take together."""
    group: list[int] = []
    for row, length in enumerate(lengths):
        if group and sum(lengths[one] for one in group) + length > MAX_ROWS:
            yield group
            group = []
        group.append(row)
    yield group
