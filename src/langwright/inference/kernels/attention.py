"""Attention of a step: the new token of one row, for the queries that share a kv head."""

from __future__ import annotations

from typing import Any

from langwright.inference.kernels.jit import part, within
from langwright.inference.kernels.machine import words
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

_scores, _scores_brief = score_tile(_KEYS, False), score_tile(_KEYS, True)
_score, _score_brief = score_tile(1, False), score_tile(1, True)
_mixes, _mixes_brief = mix_tile(4, False), mix_tile(4, True)
_mix, _mix_brief = mix_tile(1, False), mix_tile(1, True)


@part
def look(brief: bool, query: int, keys: int, count: int, head_dim: int, out: int) -> None:
    """The products of a query with `count` keys, float32 or `brief` bfloat16."""
    whole, row = count // _KEYS * _KEYS, head_dim * (2 if brief else 4)
    if brief:
        for t in range(0, whole, _KEYS):
            _scores_brief(query, keys + t * row, head_dim, out + 4 * t)
        for t in range(whole, count):
            _score_brief(query, keys + t * row, head_dim, out + 4 * t)
    else:
        for t in range(0, whole, _KEYS):
            _scores(query, keys + t * row, head_dim, out + 4 * t)
        for t in range(whole, count):
            _score(query, keys + t * row, head_dim, out + 4 * t)


@part
def mix(brief: bool, weights: int, values: int, count: int, head_dim: int, out: int) -> None:
    """The sum of `count` values, each with its weight."""
    whole = head_dim // 32 * 32
    if brief:
        for d in range(0, whole, 32):
            _mixes_brief(weights, values + 2 * d, count, head_dim, out + 4 * d)
        for d in range(whole, head_dim, 8):
            _mix_brief(weights, values + 2 * d, count, head_dim, out + 4 * d)
    else:
        for d in range(0, whole, 32):
            _mixes(weights, values + 4 * d, count, head_dim, out + 4 * d)
        for d in range(whole, head_dim, 8):
            _mix(weights, values + 4 * d, count, head_dim, out + 4 * d)


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
    for g in range(group):
        scores = work.scores + 4 * thread * room
        q = query + 4 * g * dim
        if shape.qk_norm:
            rms_normed(shape.norm_eps, q, at[Q_NORM], q, dim)
        if at[TURNS]:
            rotated(q, at[TURNS] + 4 * place * dim, dim)
        scaled(q, shape.attention_scale, dim)
        look(brief, q, keys + first * dim * size, count, dim, scores)
        total = softmax(scores, count)
        out = work.floats + b * work.stride + 4 * (head * group + g) * dim
        mix(brief, scores, values + first * dim * size, count, dim, out)
        scaled(out, 1.0 / total, dim)
