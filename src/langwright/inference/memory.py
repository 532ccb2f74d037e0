"""Where keys and values lie: of the answers under way, and of prompts for those that come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from torch import Tensor

from langwright.inference.answer import Answer
from langwright.inference.pages import Pages
from langwright.inference.prefix_cache import PrefixCache
from langwright.inference.settings import EngineSettings
from langwright.model import Decoder, KVCache, PagedCache


class Memory(Protocol):
    """Slots for answers, and what is kept of the prompts read."""

    @property
    def cache(self) -> KVCache | PagedCache:
        """What a pass writes to; there is one while an answer has a slot."""
        ...

    def check(self, answer: Answer) -> None:
        """Raise `BadInput` for an answer that there could never be room for."""
        ...

    def admit(self, coming: Sequence[Answer]) -> list[Answer]:
        """Give slots to the first of those who wait, to as many as there is room for; what is known
        of their prompts is in them."""
        ...

    def store(self, answer: Answer, end: int) -> None:
        """Keep the chunk of the answer's prompt that ends there."""
        ...

    def keep(self, answer: Answer, siblings: Iterable[Answer]) -> None:
        """Keep the whole prompt of an answer for others who are asked the same."""
        ...

    def leave(self, answer: Answer) -> None:
        """Free the answer's slot, and what was kept for it."""
        ...

    def forget(self) -> None:
        """Keep nothing of prompts: other weights have read them."""
        ...

    def rest(self) -> None:
        """Nobody has a slot."""
        ...


def memory_for(module: Decoder, settings: EngineSettings) -> Memory:
    """Slots of one piece each on a processor, whose kernels read them; on a GPU pages."""
    return Pages(module, settings) if in_pages(module) else Slots(module, settings)


def in_pages(module: Decoder) -> bool:
    return module.device.type != "cpu"


class Slots:
    """A cache of slots as long as the longest answer needs, which known chunks are copied into."""

    def __init__(self, module: Decoder, settings: EngineSettings) -> None:
        self._module, self._most = module, settings.max_slots
        self._taken: set[int] = set()
        self._cache: KVCache | None = None
        self._kept: dict[Answer, tuple[Tensor, Tensor]] = {}
        self.prefixes = PrefixCache(settings.prefill_chunk, settings.prefix_cache_mb * 2**20)

    @property
    def cache(self) -> KVCache:
        assert self._cache is not None, "who has a slot has a cache"
        return self._cache

    def check(self, answer: Answer) -> None:
        pass

    def admit(self, coming: Sequence[Answer]) -> list[Answer]:
        admitted = list(coming[: self._most - len(self._taken)])
        if not admitted:
            return admitted
        length = max(one.prompt_length + one.limit for one in admitted)
        cache = self._roomy(len(self._taken) + len(admitted), length)
        free = iter([slot for slot in range(len(cache.lengths)) if slot not in self._taken])
        for answer in admitted:
            answer.slot = next(free)
            self._taken.add(answer.slot)
            if answer in self._kept:
                keys, values = self._kept.pop(answer)
                end = answer.prompt_length
                cache.k_LSKCD[:, answer.slot, :, :end] = keys
                cache.v_LSKCD[:, answer.slot, :, :end] = values
                cache.lengths[answer.slot] = end
            else:
                known = [] if answer.tells_prompt else answer.ids
                answer.cached = self.prefixes.fill(known, answer.salt, cache, answer.slot)
        return admitted

    def _roomy(self, slots: int, length: int) -> KVCache:
        """The cache, with at least so many slots of at least this length; memory that no token
        was written to costs nothing."""
        old = self._cache
        if old is not None and len(old.lengths) >= slots and old.length >= length:
            return old
        if old is not None:
            slots, length = max(slots, len(old.lengths)), max(length, old.length)
        slots = min(self._most, 1 << (slots - 1).bit_length())
        self._cache = KVCache(
            self._module.shape, slots, length, self._module.dtype, self._module.device
        )
        if old is not None:
            self._cache.take(old)
        return self._cache

    def store(self, answer: Answer, end: int) -> None:
        self.prefixes.store(answer.ids[:end], answer.salt, self.cache, answer.slot)

    def keep(self, answer: Answer, siblings: Iterable[Answer]) -> None:
        tables, end = (self.cache.k_LSKCD, self.cache.v_LSKCD), answer.prompt_length
        keys, values = (table[:, answer.slot, :, :end].clone() for table in tables)
        self._kept |= dict.fromkeys(siblings, (keys, values))

    def leave(self, answer: Answer) -> None:
        self._kept.pop(answer, None)
        self._taken.discard(answer.slot)
        answer.slot = -1

    def forget(self) -> None:
        self.prefixes.clear()

    def rest(self) -> None:
        self._cache = None
