"""Keys and values of prompts read before, for prompts that begin alike."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from torch import Tensor

from langwright.model import KVCache


class PrefixCache:
    """Chunks of `chunk` tokens, each found by a hash of it and all before it; the longest unused
    go first when there are more than `limit` bytes.

    A chunk is what one pass over exactly its tokens has left, and prompts are read in such chunks
    anyway: so whether one is found changes no bit.
    """

    def __init__(self, chunk: int, limit: int) -> None:
        self.chunk, self.limit = chunk, limit
        self.bytes = 0
        self._chunks: OrderedDict[bytes, tuple[Tensor, Tensor]] = OrderedDict()

    def fill(self, ids: Sequence[int], salt: str, cache: KVCache, slot: int) -> int:
        """Copy what is known of the beginning of `ids` into a slot; the number of its tokens. The
        last token is never among them, since its logits are wanted."""
        done = 0
        for key in chunk_keys(ids, salt, self.chunk):
            found = self._chunks.get(key)
            if found is None or done + self.chunk >= len(ids):
                break
            self._chunks.move_to_end(key)
            for table, part in zip((cache.k_LSKCD, cache.v_LSKCD), found, strict=True):
                table[:, slot, :, done : done + self.chunk] = part
            done += self.chunk
        cache.lengths[slot] = done
        return done

    def store(self, ids: Sequence[int], salt: str, cache: KVCache, slot: int) -> None:
        """Keep the last chunk of `ids`, whose length is a multiple of the chunk's."""
        start, end = len(ids) - self.chunk, len(ids)
        *_, key = chunk_keys(ids, salt, self.chunk)
        if key in self._chunks:
            self._chunks.move_to_end(key)
            return
        part = tuple(t[:, slot, :, start:end].clone() for t in (cache.k_LSKCD, cache.v_LSKCD))
        size = sum(one.numel() * one.element_size() for one in part)
        if size > self.limit:
            return
        while self.bytes + size > self.limit:
            _, oldest = self._chunks.popitem(last=False)
            self.bytes -= sum(one.numel() * one.element_size() for one in oldest)
        self._chunks[key] = (part[0], part[1])
        self.bytes += size

    def clear(self) -> None:
        self._chunks.clear()
        self.bytes = 0


def chunk_keys(ids: Sequence[int], salt: str, chunk: int) -> Iterator[bytes]:
    """For each whole chunk, a hash of it and of all before it. `salt` keeps apart what other
    weights have read."""
    key = salt.encode()
    for start in range(0, len(ids) - chunk + 1, chunk):
        part = array("q", ids[start : start + chunk]).tobytes()
        key = hashlib.blake2b(key + part, digest_size=16).digest()
        yield key
