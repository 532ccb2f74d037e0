"""How weights lie in memory, and what the compiled step is told."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

QUERIES = 3
"""Of one kv head: so many share what is fetched of keys and values."""


class Kind(Enum):
    """Each has a product of its own, in `products.py`."""

    FLOAT32 = "float32"
    """[N, K]"""
    BFLOAT16 = "bfloat16"
    """[N, K]"""
    ROWS8 = "rows8"
    """int8 [N, K], and a scale in bfloat16 to a row."""
    GROUPS8 = "groups8"
    """int8 [G, N, 32], and scales in float16 [G, N]."""
    NIBBLES4 = "nibbles4"
    """torch's packing of 4 bits by tiles of outputs, 32 inputs to a scale and an offset."""

    @property
    def whole(self) -> bool:
        """Whether it is multiplied with whole numbers; else with float32."""
        return self not in (Kind.FLOAT32, Kind.BFLOAT16)


class Shape(NamedTuple):
    """What of an architecture the step asks for."""

    num_layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    layer_norm: bool
    norm_eps: float
    sandwich: bool
    qk_norm: bool
    gated: bool
    activation: int
    attention_scale: float
    softcap: float


class Work(NamedTuple):
    """Addresses: of what is read and written in a step, and of the counters of its phases.

    Legend: B rows, E width, F inner, H heads, K kv heads, D head_dim, C length of a slot.
    """

    layers: int
    """A row of whole numbers to each layer; see `table.py`."""
    ends: int
    """The same for what follows the layers."""
    counters: int
    places: int
    """Of each row its slot and its position, [B, 2]."""
    num_rows: int
    wide: bool
    """Whether these are many rows, of prompts."""
    num_silent: int
    """Rows, the first, after which no logits are asked for."""
    x: int
    """The residual stream [B, E], float32 as all that has no name of another type."""
    floats: int
    wholes: int
    """A row of activations as they go into a product: as float32, as 16-bit whole numbers."""
    stride: int
    """Bytes from one row of them to the next."""
    qkv: int
    gate: int
    up: int
    added: int
    """What a part adds to the stream, [B, E]."""
    logits: int
    scores: int
    """Of each thread, [QUERIES, C]."""
    length: int
    """C"""
    keys: int
    """Where `wide` and `brief`: room for those of the one slot as float32, [K, C, D]; all rows read
    them."""
    values: int
    brief: bool
    """Whether the cache is in bfloat16."""
    num_threads: int
