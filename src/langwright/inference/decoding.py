"""Reading tokens behind what a cache holds, by torch or by compiled kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Timer

import torch
from torch import Tensor

from langwright.inference.kernels import MAX_ROWS, DecodeStep, prepare, ready, why_not
from langwright.model import Adapters, Decoder, KVCache, PagedCache
from langwright.progress import say

Cache = KVCache | PagedCache

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

    def version(self) -> int:
        """A number that changes when weights do, be it by training or an adapter's coming."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        return sum(0 if one.is_inference() else one._version for one in tensors) + len(tensors)

    @torch.inference_mode()
    def read(
        self, cache: Cache, slot: int, ids: Sequence[int], adapter: str | None, last: int
    ) -> Tensor | None:
        """Read `ids` behind what the slot holds; the logits of the `last` of them, [last, V]."""
        if adapter is None and (compiled := self._compiled(cache)) and compiled.reads:
            logits = compiled.read(ids, slot, last)[:, : self._num_tokens]
            return logits if last else None
        with self._using([adapter]):
            ids_1T = torch.tensor([list(ids)], device=self.module.device)
            hidden = self.module.hidden(ids_1T, cache.rows([slot], len(ids)))
        return self._logits(hidden[0, len(ids) - last :]) if last else None

    def go_on(
        self,
        cache: Cache,
        slots: Sequence[int],
        ids: Sequence[Sequence[int]],
        adapters: Sequence[str | None],
    ) -> Tensor:
        """Read `ids[i]`, a token or a few, behind what slot `slots[i]` holds; the logits behind
        each, those of one slot after the other, [N, V]."""
        compiled = self._compiled(cache)
        rows = range(len(slots))
        own = [row for row in rows if compiled is not None and adapters[row] is None]
        rest = [row for row in rows if compiled is None or adapters[row] is not None]
        found: dict[int, Tensor] = {}
        parts = []
        for group in _groups(own, [len(row) for row in ids]):
            assert compiled is not None
            flat = [token for row in group for token in ids[row]]
            behind = [slots[row] for row in group for _ in ids[row]]
            parts.append((group, compiled(flat, behind)[:, : self._num_tokens]))
        # torch's products of matrices differ by a bit with the number of rows.
        for group in [[row] for row in rest] if self._deterministic else [rest] if rest else []:
            parts.append((group, self._by_torch(cache, group, slots, ids, adapters)))
        if len(parts) == 1:
            return parts[0][1]
        for group, logits in parts:
            sizes = [len(ids[row]) for row in group]
            found |= zip(group, logits.split(sizes), strict=True)
        return torch.cat([found[row] for row in rows])

    @torch.inference_mode()
    def _by_torch(
        self,
        cache: Cache,
        group: Sequence[int],
        slots: Sequence[int],
        ids: Sequence[Sequence[int]],
        adapters: Sequence[str | None],
    ) -> Tensor:
        longest = max(len(ids[row]) for row in group)
        padding = [longest - len(ids[row]) for row in group]
        padded = [[0] * pad + [*ids[row]] for pad, row in zip(padding, group, strict=True)]
        with self._using([adapters[row] for row in group]):
            rows = cache.rows([slots[row] for row in group], longest, padding)
            hidden = self.module.hidden(torch.tensor(padded, device=self.module.device), rows)
        real = torch.arange(longest) >= torch.tensor(padding)[:, None]
        return self._logits(hidden[real])

    def _compiled(self, cache: Cache) -> DecodeStep | None:
        """The kernels, bound to this cache; compiled first where no process has yet."""
        if self._bound is not None and self._bound[0] is cache:
            return self._bound[1]
        if isinstance(cache, PagedCache) or self.choose() is not None:
            return None
        if not ready(self.module):
            words = "Compiling the decode kernels, once on this machine: some ten seconds."
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
        """On the processor, where tokens are drawn; rows of the table that are no token are ruled
        out."""
        return self.module.head(hidden_BE)[:, : self._num_tokens].float().cpu()

    def _using(self, adapters: Sequence[str | None]) -> AbstractContextManager[None]:
        if self.adapters is None or not any(adapters):
            return nullcontext()
        return self.adapters.use(list(adapters))


def _groups(rows: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows that the kernels can take together."""
    group: list[int] = []
    for row in rows:
        if group and sum(lengths[one] for one in (*group, row)) > MAX_ROWS:
            yield group
            group = []
        group.append(row)
    if group:
        yield group
