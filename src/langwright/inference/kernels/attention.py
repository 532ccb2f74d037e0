"""Attention of a step: the new token of one row, for the queries that share a kv head."""

from __future__ import annotations

from typing import Any

from langwright.inference.kernels.jit import part, within
from langwright.inference.kernels.kinds import QUERIES
from langwright.inference.kernels.machine import floats, words
from langwright.inference.kernels.rows import (
    copied,
    narrowed,
    rms_normed,
    rotated,
    scaled,
    softmax,
    widened,
)
from langwright.inference.kernels.table import K_NORM, KEYS, Q_NORM, TURNS, VALUES, WINDOW
from langwright.inference.kernels.vectors import mix_tile, score_tile

_KEYS = 4


def _looking(num_queries: int, brief: bool) -> Any:
    several, single = (score_tile(num_queries, keys, brief) for keys in (_KEYS, 1))
    size = 2 if brief else 4

    @part
    def look(
        queries: int, stride: int, keys: int, count: int, head_dim: int, out: int, room: int
    ) -> None:
        whole, row = count // _KEYS * _KEYS, head_dim * size
        for t in range(0, whole, _KEYS):
            several(queries, stride, keys + t * row, head_dim, out + 4 * t, room)
        for t in range(whole, count):
            single(queries, stride, keys + t * row, head_dim, out + 4 * t, room)

    return look


def _mixing(num_queries: int, brief: bool) -> Any:
    several, single = (mix_tile(num_queries, vectors, brief) for vectors in (4, 1))
    size = 2 if brief else 4

    @part
    def mix(
        weights: int, room: int, values: int, count: int, head_dim: int, out: int, stride: int
    ) -> None:
        whole = head_dim // 32 * 32
        for d in range(0, whole, 32):
            several(weights, room, values + size * d, count, head_dim, out + 4 * d, stride)
        for d in range(whole, head_dim, 8):
            single(weights, room, values + size * d, count, head_dim, out + 4 * d, stride)

    return mix


def _by_number(make: Any) -> Any:
    """What `make` makes for one to three queries, of float32 or `brief` bfloat16, as one."""
    one, two, three = (make(n, False) for n in range(1, QUERIES + 1))
    one_brief, two_brief, three_brief = (make(n, True) for n in range(1, QUERIES + 1))

    @part
    def chosen(
        brief: bool, num: int, x: int, x_step: int, held: int, count: int, head_dim: int, out: int,
        out_step: int,
    ) -> None:  # fmt: skip
        if brief:
            if num == 3:
                three_brief(x, x_step, held, count, head_dim, out, out_step)
            elif num == 2:
                two_brief(x, x_step, held, count, head_dim, out, out_step)
            else:
                one_brief(x, x_step, held, count, head_dim, out, out_step)
        elif num == 3:
            three(x, x_step, held, count, head_dim, out, out_step)
        elif num == 2:
            two(x, x_step, held, count, head_dim, out, out_step)
        else:
            one(x, x_step, held, count, head_dim, out, out_step)

    return chosen


look = _by_number(_looking)
"""The products of queries with `count` keys, behind each the bytes to the next one's."""
mix = _by_number(_mixing)
"""The sums of `count` values, each with its weight, likewise."""


@within
def keep(shape: Any, work: Any, table: int, b: int, head: int) -> None:
    """Put the key and the value of one kv head of a row into the cache."""
    at, dim = words(table), shape.head_dim
    slot, place = words(work.places)[2 * b], words(work.places)[2 * b + 1]
    key = work.qkv + 4 * (b * (shape.heads + 2 * shape.kv_heads) + shape.heads + head) * dim
    value = key + 4 * shape.kv_heads * dim
    if shape.qk_norm:
        rms_normed(shape.norm_eps, key, at[K_NORM], key, dim)
    if at[TURNS]:
        rotated(key, at[TURNS] + 4 * place * dim, dim)
    size = 2 if work.brief else 4
    start = ((slot * shape.kv_heads + head) * work.length + place) * dim * size
    if work.brief:
        narrowed(key, at[KEYS] + start, dim)
        narrowed(value, at[VALUES] + start, dim)
    else:
        copied(key, at[KEYS] + start, dim)
        copied(value, at[VALUES] + start, dim)


@within
def widen(shape: Any, work: Any, table: int, head: int, first: int, last: int) -> None:
    """Put some keys and values of one kv head of a prompt's slot where its rows read them."""
    at, dim = words(table), shape.head_dim
    start = (words(work.places)[0] * shape.kv_heads + head) * work.length + first
    place = head * work.length + first
    count = (last - first) * dim
    widened(at[KEYS] + 2 * start * dim, work.keys + 4 * place * dim, count)
    widened(at[VALUES] + 2 * start * dim, work.values + 4 * place * dim, count)


@within
def attend(shape: Any, work: Any, table: int, b: int, head: int, thread: int) -> None:
    """What the queries of one kv head of a row see, when all keys and values are kept."""
    at, dim = words(table), shape.head_dim
    group = shape.heads // shape.kv_heads
    slot, place = words(work.places)[2 * b], words(work.places)[2 * b + 1]
    row = work.qkv + 4 * b * (shape.heads + 2 * shape.kv_heads) * dim
    query = row + 4 * head * group * dim
    wide = work.wide and work.brief
    brief = work.brief and not wide
    size = 2 if brief else 4
    start = ((0 if wide else slot) * shape.kv_heads + head) * work.length * dim * size
    keys = (work.keys if wide else at[KEYS]) + start
    values = (work.values if wide else at[VALUES]) + start
    first = max(0, place + 1 - at[WINDOW]) if at[WINDOW] else 0
    count = place + 1 - first
    room = (work.length + 8) // 8 * 8
    scores = work.scores + 4 * thread * QUERIES * room
    for g in range(group):
        q = query + 4 * g * dim
        if shape.qk_norm:
            rms_normed(shape.norm_eps, q, at[Q_NORM], q, dim)
        if at[TURNS]:
            rotated(q, at[TURNS] + 4 * place * dim, dim)
        scaled(q, shape.attention_scale, dim)
    for g in range(0, group, QUERIES):
        some = min(QUERIES, group - g)
        q, out = query + 4 * g * dim, work.floats + b * work.stride + 4 * (head * group + g) * dim
        look(brief, some, q, 4 * dim, keys + first * dim * size, count, dim, scores, 4 * room)
        for n in range(some):
            # The weights are divided by their sum at the end, and in the query's own place.
            floats(q + 4 * n * dim)[0] = softmax(scores + 4 * n * room, count)
        mix(brief, some, scores, 4 * room, values + first * dim * size, count, dim, out, 4 * dim)
        for n in range(some):
            scaled(out + 4 * n * dim, 1.0 / floats(q + 4 * n * dim)[0], dim)
