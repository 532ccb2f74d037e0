"""One decode step of a decoder, from the embedded tokens to the logits, in one compiled function.

All threads run it at the same time. It is a row of phases; each is cut in pieces that whoever comes
first takes, and none is begun before all pieces of the one before are finished. So one thread alone
finishes it too, and a thread that comes late helps with what is left.
"""

from __future__ import annotations

from typing import Any

from langwright.inference.kernels import kinds
from langwright.inference.kernels.jit import chosen, part, within
from langwright.inference.kernels.machine import claim, finish, wait, words
from langwright.inference.kernels.products import choose, prepare, source
from langwright.inference.kernels.rows import (
    activate,
    added,
    capped,
    copied,
    multiplied,
    narrowed,
    normed,
    rotated,
    scaled,
    softmax,
)
from langwright.inference.kernels.table import (
    COLUMNS,
    DOWN,
    GATE,
    HEAD,
    INPUT_NORM,
    K_NORM,
    KEYS,
    LAST_NORM,
    MLP_NORM,
    OUT,
    POST_ATTENTION,
    POST_MLP,
    Q_NORM,
    TURNS,
    UP,
    VALUES,
    WINDOW,
    K,
    Q,
    V,
)
from langwright.inference.kernels.tiles import mix_tile, score_tile

_PIECES = 8
"""Pieces that a thread gets of a large phase: enough that none waits long for the last."""
_KEYS = 4

_scores = {kinds.Float32: score_tile(4, False), kinds.BFloat16: score_tile(4, True)}
_score = {kinds.Float32: score_tile(1, False), kinds.BFloat16: score_tile(1, True)}
_mixes = {kinds.Float32: mix_tile(4, False), kinds.BFloat16: mix_tile(4, True)}
_mix = {kinds.Float32: mix_tile(1, False), kinds.BFloat16: mix_tile(1, True)}


def keep(cache: Any, x: int, out: int, count: int) -> None:
    """Write keys or values into the cache."""


def look(cache: Any, query: int, keys: int, count: int, head_dim: int, out: int) -> None:
    """The products of a query with `count` keys."""


def mix(cache: Any, weights: int, values: int, count: int, head_dim: int, out: int) -> None:
    """The sum of `count` values, each with its weight."""


def bytes_of(cache: Any) -> int:
    """Bytes of a number in the cache."""
    raise NotImplementedError


@chosen(bytes_of)
def _bytes_of(cache):  # type: ignore[no-untyped-def]
    size = 4 if cache.instance_class is kinds.Float32 else 2
    return lambda cache: size


@chosen(keep)
def _keep(cache, x, out, count):  # type: ignore[no-untyped-def]
    if cache.instance_class is kinds.Float32:
        return lambda cache, x, out, count: copied(x, out, count)
    return lambda cache, x, out, count: narrowed(x, out, count)


@chosen(look)
def _look(cache, query, keys, count, head_dim, out):  # type: ignore[no-untyped-def]
    few, one = _scores[cache.instance_class], _score[cache.instance_class]
    size = 4 if cache.instance_class is kinds.Float32 else 2

    def run(cache, query, keys, count, head_dim, out):  # type: ignore[no-untyped-def]
        whole = count // _KEYS * _KEYS
        for t in range(0, whole, _KEYS):
            few(query, keys + t * head_dim * size, head_dim, out + 4 * t)
        for t in range(whole, count):
            one(query, keys + t * head_dim * size, head_dim, out + 4 * t)

    return run


@chosen(mix)
def _mix_values(cache, weights, values, count, head_dim, out):  # type: ignore[no-untyped-def]
    few, one = _mixes[cache.instance_class], _mix[cache.instance_class]
    size = 4 if cache.instance_class is kinds.Float32 else 2

    def run(cache, weights, values, count, head_dim, out):  # type: ignore[no-untyped-def]
        whole = head_dim // 32 * 32
        for d in range(0, whole, 32):
            few(weights, values + d * size, count, head_dim, out + 4 * d)
        for d in range(whole, head_dim, 8):
            one(weights, values + d * size, count, head_dim, out + 4 * d)

    return run


@within
def piece(num_out: int, num_threads: int, tile: int) -> int:
    """How many outputs of a product make a piece, whole tiles."""
    return max(1, num_out // (num_threads * _PIECES * tile)) * tile


@within
def pieces(num_out: int, size: int) -> int:
    return (num_out + size - 1) // size


@part
def multiply(
    kind: Any, table: int, matrix: int, num_in: int, first: int, last: int,
    work: Any, out: int, out_stride: int,
) -> None:  # fmt: skip
    """Outputs `first` to `last` of all rows: x w^T + bias."""
    at = words(table + 8 * matrix)
    x = source(kind, work.floats, work.wholes)
    choose(
        kind, at[0], at[1], at[2], kind.tile // 2, num_in, first, last,
        x, work.stride, work.num_rows, out, out_stride,
    )  # fmt: skip
    if at[3]:
        for b in range(work.num_rows):
            added(out + b * out_stride + 4 * first, at[3] + 4 * first, last - first)


@part
def attend(cache: Any, shape: Any, work: Any, table: int, b: int, head: int, thread: int) -> None:
    """What the queries of one kv head of a row see; the row's key and value are kept first."""
    at, dim = words(table), shape.head_dim
    group = shape.heads // shape.kv_heads
    slot, place = words(work.places)[2 * b], words(work.places)[2 * b + 1]
    row = work.qkv + 4 * b * (shape.heads + 2 * shape.kv_heads) * dim
    query = row + 4 * head * group * dim
    key = row + 4 * (shape.heads + head) * dim
    value = key + 4 * shape.kv_heads * dim
    if shape.qk_norm:
        normed(False, shape.norm_eps, key, at[K_NORM], key, dim)
        for g in range(group):
            q = query + 4 * g * dim
            normed(False, shape.norm_eps, q, at[Q_NORM], q, dim)
    if at[TURNS]:
        turn = at[TURNS] + 4 * place * dim
        rotated(key, turn, dim)
        for g in range(group):
            rotated(query + 4 * g * dim, turn, dim)
    size = bytes_of(cache)
    start = (slot * shape.kv_heads + head) * work.length * dim * size
    keys, values = at[KEYS] + start, at[VALUES] + start
    keep(cache, key, keys + place * dim * size, dim)
    keep(cache, value, values + place * dim * size, dim)
    first = max(0, place + 1 - at[WINDOW]) if at[WINDOW] else 0
    count = place + 1 - first
    room = (work.length + 8) // 8 * 8
    for g in range(group):
        scores = work.scores + 4 * thread * room
        q = query + 4 * g * dim
        scaled(q, shape.attention_scale, dim)
        look(cache, q, keys + first * dim * size, count, dim, scores)
        total = softmax(scores, count)
        out = work.floats + b * work.stride + 4 * (head * group + g) * dim
        mix(cache, scores, values + first * dim * size, count, dim, out)
        scaled(out, 1.0 / total, dim)


@part
def norm_rows(kind: Any, shape: Any, work: Any, weight: int, phase: int) -> int:
    """Norm each row of the stream for the product that follows."""
    while True:
        b = claim(work.counters, phase)
        if b >= work.num_rows:
            break
        x, out = work.x + 4 * b * shape.width, work.floats + b * work.stride
        normed(shape.layer_norm, shape.norm_eps, x, weight, out, shape.width)
        prepare(kind, out, work.wholes + b * work.stride, shape.width)
        finish(work.counters, phase)
    wait(work.counters, phase, work.num_rows)
    return phase + 1


@part
def prepare_rows(kind: Any, work: Any, count: int, phase: int) -> int:
    while True:
        b = claim(work.counters, phase)
        if b >= work.num_rows:
            break
        prepare(kind, work.floats + b * work.stride, work.wholes + b * work.stride, count)
        finish(work.counters, phase)
    wait(work.counters, phase, work.num_rows)
    return phase + 1


@part
def add_product(
    kind: Any, shape: Any, work: Any, table: int, matrix: int, num_in: int, norm: int, phase: int
) -> int:
    """Multiply the rows and add what comes of it to the stream, normed where there is a norm."""
    size = piece(shape.width, work.num_threads, kind.tile)
    count, stride = pieces(shape.width, size), 4 * shape.width
    while True:
        c = claim(work.counters, phase)
        if c >= count:
            break
        first, last = c * size, min((c + 1) * size, shape.width)
        multiply(kind, table, matrix, num_in, first, last, work, work.added, stride)
        if not norm:
            for b in range(work.num_rows):
                at = b * stride + 4 * first
                added(work.x + at, work.added + at, last - first)
        finish(work.counters, phase)
    wait(work.counters, phase, count)
    phase += 1
    if norm:
        while True:
            b = claim(work.counters, phase)
            if b >= work.num_rows:
                break
            more = work.added + b * stride
            normed(shape.layer_norm, shape.norm_eps, more, norm, more, shape.width)
            added(work.x + b * stride, more, shape.width)
            finish(work.counters, phase)
        wait(work.counters, phase, work.num_rows)
        phase += 1
    return phase


@part
def qkv_product(kind: Any, shape: Any, work: Any, table: int, phase: int) -> int:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    stride = 4 * (queries + 2 * keys)
    size = piece(queries + 2 * keys, work.num_threads, kind.tile)
    of_q, of_k = pieces(queries, size), pieces(keys, size)
    count = of_q + 2 * of_k
    while True:
        c = claim(work.counters, phase)
        if c >= count:
            break
        matrix, number, rows, out = Q, c, queries, work.qkv
        if c >= of_q + of_k:
            matrix, number, rows, out = V, c - of_q - of_k, keys, out + 4 * (queries + keys)
        elif c >= of_q:
            matrix, number, rows, out = K, c - of_q, keys, out + 4 * queries
        first, last = number * size, min((number + 1) * size, rows)
        multiply(kind, table, matrix, shape.width, first, last, work, out, stride)
        finish(work.counters, phase)
    wait(work.counters, phase, count)
    return phase + 1


@part
def gated_product(kind: Any, shape: Any, work: Any, table: int, phase: int) -> int:
    """act(gate) * up, or act(up), of the rows, in the place of the rows themselves one phase on."""
    size = piece(shape.inner, work.num_threads, kind.tile)
    count, stride = pieces(shape.inner, size), 4 * shape.inner
    while True:
        c = claim(work.counters, phase)
        if c >= count:
            break
        first, last = c * size, min((c + 1) * size, shape.inner)
        multiply(kind, table, UP, shape.width, first, last, work, work.up, stride)
        if shape.gated:
            multiply(kind, table, GATE, shape.width, first, last, work, work.gate, stride)
        for b in range(work.num_rows):
            at = b * stride + 4 * first
            if shape.gated:
                activate(shape.activation, work.gate + at, last - first)
                multiplied(work.up + at, work.gate + at, last - first)
            else:
                activate(shape.activation, work.up + at, last - first)
        finish(work.counters, phase)
    wait(work.counters, phase, count)
    phase += 1
    while True:
        b = claim(work.counters, phase)
        if b >= work.num_rows:
            break
        out = work.floats + b * work.stride
        copied(work.up + b * stride, out, shape.inner)
        prepare(kind, out, work.wholes + b * work.stride, shape.inner)
        finish(work.counters, phase)
    wait(work.counters, phase, work.num_rows)
    return phase + 1


@part
def run(kind: Any, head: Any, cache: Any, shape: Any, work: Any, thread: int) -> None:
    """The step; `kind` is that of the layers' weights, `head` that of the head's, `cache` that of
    the numbers in the cache."""
    phase = 0
    for layer in range(shape.num_layers):
        table = work.layers + 8 * COLUMNS * layer
        at = words(table)
        phase = norm_rows(kind, shape, work, at[INPUT_NORM], phase)
        phase = qkv_product(kind, shape, work, table, phase)
        count = work.num_rows * shape.kv_heads
        while True:
            c = claim(work.counters, phase)
            if c >= count:
                break
            attend(cache, shape, work, table, c // shape.kv_heads, c % shape.kv_heads, thread)
            finish(work.counters, phase)
        wait(work.counters, phase, count)
        phase += 1
        seen = shape.heads * shape.head_dim
        phase = prepare_rows(kind, work, seen, phase)
        phase = add_product(kind, shape, work, table, OUT, seen, at[POST_ATTENTION], phase)
        phase = norm_rows(kind, shape, work, at[MLP_NORM], phase)
        phase = gated_product(kind, shape, work, table, phase)
        phase = add_product(kind, shape, work, table, DOWN, shape.inner, at[POST_MLP], phase)
    phase = norm_rows(head, shape, work, words(work.ends)[LAST_NORM], phase)
    size = piece(shape.vocab, work.num_threads, head.tile)
    count, stride = pieces(shape.vocab, size), 4 * shape.vocab
    while True:
        c = claim(work.counters, phase)
        if c >= count:
            break
        first, last = c * size, min((c + 1) * size, shape.vocab)
        multiply(head, work.ends, HEAD, shape.width, first, last, work, work.logits, stride)
        if shape.softcap:
            for b in range(work.num_rows):
                capped(work.logits + b * stride + 4 * first, shape.softcap, last - first)
        finish(work.counters, phase)
    wait(work.counters, phase, count)
