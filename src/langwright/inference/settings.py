"""How an engine works, apart from what each request asks for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from langwright.config import Settings

Speculation = Literal["off", "ngram"]


class EngineSettings(Settings):
    """`max_slots` answers are decoded together. A prompt is read in chunks that begin at multiples
    of `prefill_chunk`, a multiple of 32; whole chunks are kept, in up to `prefix_cache_mb`
    megabytes, for later prompts that begin alike, and a hit changes no bit of an answer.

    On a GPU keys and values lie in blocks of 32 tokens, which prompts that begin alike share, in
    `pages_mb` megabytes (None: twice what `max_slots` of the longest answers fill, at most 60% of
    what is free): there chunks are kept as long as nobody needs their room, or with a
    `prefix_cache_mb` of 0 not at all; and a request waits until the longest answer that it asks for
    has room.

    `speculation`: `ngram` foretells tokens from what was said before; it changes no answer, and is
    off where it does not pay, and where torch decodes. `compiled`: decode by compiled kernels where
    they can run the model (see `Engine.decodes_by`). `deterministic`: an answer does not depend,
    bit for bit, on what else is decoded with it.
    """

    max_slots: int = Field(default=16, ge=1, le=1024)
    prefill_chunk: int = Field(default=128, ge=32, le=4096, multiple_of=32)
    prefix_cache_mb: int = Field(default=256, ge=0)
    pages_mb: int | None = Field(default=None, ge=1)
    speculation: Speculation = "ngram"
    compiled: bool = True
    deterministic: bool = False
