"""Keys and values in pages, which answers that begin alike share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import torch

from langwright.errors import BadInput
from langwright.inference.answer import Answer
from langwright.inference.prefix_cache import chunk_keys
from langwright.inference.settings import EngineSettings
from langwright.model import PAGE, Decoder, PagedCache, block_bytes

SHARE = 0.6
"""Of a GPU's memory that is free when the first answer begins."""
ON_PROCESSOR = 2**31


class Pages:
    """Blocks of 32 tokens, as many as there is memory for, made when the first answer comes.

    A chunk of a prompt is kept where it lies, for as long as no answer needs its blocks; whoever
    begins alike holds the same blocks. Nobody is admitted before all blocks are there that the
    answer may come to need: so none that is under way ever waits for another.
    """

    def __init__(self, module: Decoder, settings: EngineSettings) -> None:
        self._module, self._settings = module, settings
        self._cache: PagedCache | None = None
        self._free = set(range(settings.max_slots))
        self._needs: dict[int, int] = {}  # by slot, blocks that it may come to hold
        self._kept: dict[Answer, list[int]] = {}
        self._chunks: OrderedDict[bytes, list[int]] = OrderedDict()

    @property
    def cache(self) -> PagedCache:
        if self._cache is None:
            self._cache = PagedCache(
                self._module.shape,
                self._settings.max_slots,
                self._num_blocks(),
                self._module.dtype,
                self._module.device,
                self._reclaimed,
            )
        return self._cache

    def _num_blocks(self) -> int:
        module, asked = self._module, self._settings.pages_mb
        size = block_bytes(module.shape, module.dtype)
        if asked is not None:
            return max(1, asked * 2**20 // size)
        if module.device.type == "cuda":
            room = int(SHARE * torch.cuda.mem_get_info(module.device)[0])
        else:
            room = ON_PROCESSOR
        # What all slots can fill, and as much again for beginnings that are kept.
        longest = -(-module.shape.context_length // PAGE) + 1
        return max(1, min(room // size, 2 * self._settings.max_slots * longest))

    def check(self, answer: Answer) -> None:
        # One more than it holds itself: the last of a prompt that is kept for siblings.
        needed, there = _blocks(answer) + 1, len(self.cache.holders)
        if needed > there:
            raise BadInput(
                f"The prompt and its answer may come to {answer.prompt_length + answer.limit} "
                f"tokens; there are pages for {(there - 1) * PAGE}.",
                remedy="Ask for fewer tokens (max_tokens), or give the engine more pages_mb.",
            )

    def admit(self, coming: Sequence[Answer]) -> list[Answer]:
        admitted = []
        for answer in coming:
            if not self._free or not self._fits(answer):
                break
            admitted.append(answer)
        return admitted

    def _fits(self, answer: Answer) -> bool:
        """Whether the answer has got a slot, and in it what is known of its prompt."""
        cache = self.cache
        prompt = self._kept.get(answer)
        end = answer.prompt_length if prompt is not None else 0
        shared = prompt[: end // PAGE] if prompt is not None else self._known(answer)
        cache.hold(shared)
        if self._owed() + _blocks(answer) - len(shared) > cache.num_free + self._spare():
            cache.release(shared)
            return False
        slot = answer.slot = min(self._free)
        self._free.remove(slot)
        self._needs[slot] = _blocks(answer)
        cache.tables[slot] = list(shared)
        if prompt is None:
            cache.lengths[slot] = answer.cached = len(shared) * PAGE
            return True
        if end % PAGE:  # the answers go on in this one, each in its own
            cache.tables[slot].append(cache.copy(prompt[-1]))
        cache.lengths[slot] = end
        cache.release(self._kept.pop(answer))
        return True

    def _known(self, answer: Answer) -> list[int]:
        """The blocks of the chunks that are known of a prompt. The last token is never among them,
        since its logits are wanted."""
        if answer.tells_prompt or len(answer.ids) <= (chunk := self._settings.prefill_chunk):
            return []
        found: list[int] = []
        for key in chunk_keys(answer.ids[:-1], answer.salt, chunk):
            if key not in self._chunks:
                break
            self._chunks.move_to_end(key)
            found += self._chunks[key]
        return found

    def _owed(self) -> int:
        """Blocks that those under way may yet need."""
        tables = self.cache.tables
        return sum(needs - len(tables[slot]) for slot, needs in self._needs.items())

    def _spare(self) -> int:
        """Blocks that only chunks hold."""
        holders = self.cache.holders
        return sum(holders[one] == 1 for blocks in self._chunks.values() for one in blocks)

    def _reclaimed(self) -> list[int]:
        """The blocks of the longest unused chunk that nobody uses."""
        holders = self.cache.holders
        for key, blocks in self._chunks.items():
            if all(holders[one] == 1 for one in blocks):
                return self._chunks.pop(key)
        return []

    def store(self, answer: Answer, end: int) -> None:
        chunk = self._settings.prefill_chunk
        *_, key = chunk_keys(answer.ids[:end], answer.salt, chunk)
        if self._settings.prefix_cache_mb and key not in self._chunks:
            blocks = self.cache.tables[answer.slot][(end - chunk) // PAGE : end // PAGE]
            self.cache.hold(blocks)
            self._chunks[key] = blocks
        elif key in self._chunks:
            self._chunks.move_to_end(key)

    def keep(self, answer: Answer, siblings: Iterable[Answer]) -> None:
        table = self.cache.tables[answer.slot][: -(-answer.prompt_length // PAGE)]
        for sibling in siblings:
            self.cache.hold(table)
            self._kept[sibling] = table

    def leave(self, answer: Answer) -> None:
        if answer in self._kept:
            self.cache.release(self._kept.pop(answer))
        if answer.slot >= 0:
            self.cache.empty(answer.slot)
            del self._needs[answer.slot]
            self._free.add(answer.slot)
            answer.slot = -1

    def forget(self) -> None:
        for blocks in self._chunks.values():
            self.cache.release(blocks)
        self._chunks.clear()

    def rest(self) -> None:
        pass


def _blocks(answer: Answer) -> int:
    """Blocks that the prompt and the longest answer fill."""
    return -(-(answer.prompt_length + answer.limit) // PAGE)
