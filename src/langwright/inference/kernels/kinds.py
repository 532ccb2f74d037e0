"""How weights lie in memory. Numba compiles a step for the kinds that a model has: each is a type
of its own; `tile` says how many outputs go together."""

from __future__ import annotations

from typing import NamedTuple


class Float32(NamedTuple):
    """[N, K]"""

    tile: int


class BFloat16(NamedTuple):
    """[N, K]"""

    tile: int


class Rows8(NamedTuple):
    """int8 [N, K], and a scale in bfloat16 to a row."""

    tile: int


class Groups8(NamedTuple):
    """int8 [G, N, 32], and scales in float16 [G, N]."""

    tile: int


class Nibbles4(NamedTuple):
    """torch's packing of 4 bits by tiles of outputs, 32 inputs to a scale and an offset."""

    tile: int


Kind = Float32 | BFloat16 | Rows8 | Groups8 | Nibbles4


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
    """Of each thread, [group of heads, C]."""
    length: int
    """C"""
    num_threads: int
