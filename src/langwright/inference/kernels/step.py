"""One step of a decoder, from the embedded tokens to the logits, in one compiled function.

All threads run it at the same time. It is a row of phases; each is cut in pieces that whoever comes
first takes, and none is begun before all pieces of the one before are finished. So one thread alone
finishes it too, and a thread that comes late helps with what is left.
"""

from __future__ import annotations

from typing import Any

from langwright.inference.kernels.attention import attend, keep, widen
from langwright.inference.kernels.jit import part, within
from langwright.inference.kernels.machine import claim, finish, wait, words
from langwright.inference.kernels.products import multiplied_at
from langwright.inference.kernels.rows import (
    activate,
    added,
    capped,
    copied,
    multiplied,
    normed,
    rounded,
)
from langwright.inference.kernels.table import (
    BIAS,
    COLUMNS,
    DOWN,
    GATE,
    HEAD,
    HELD,
    INPUT_NORM,
    LAST_NORM,
    MLP_NORM,
    OUT,
    PHASES,
    POST_ATTENTION,
    POST_MLP,
    PRODUCT,
    SCALES,
    TILE,
    UP,
    WEIGHTS,
    WHOLE,
    WIDE,
    K,
    Q,
    V,
)

_POSITIONS = 256
"""Of which one piece makes the keys and values float32."""
_PIECES = 8
"""Pieces that a thread gets of a large phase: enough that none waits long for the last."""


@within
def piece(num_out: int, num_threads: int, tile: int) -> int:
    """How many outputs of a product make a piece, whole tiles."""
    return max(1, num_out // (num_threads * _PIECES * tile)) * tile


@within
def pieces(num_out: int, size: int) -> int:
    return (num_out + size - 1) // size


@part
def multiply(
    matrix: int, num_in: int, first: int, last: int, work: Any, skip: int, out: int, out_stride: int
) -> None:
    """Outputs `first` to `last` of all rows but the first `skip`: x w^T + bias; `matrix` is its
    place in the table."""
    at, num_rows = words(matrix), work.num_rows - skip
    x = (work.wholes if at[WHOLE] else work.floats) + skip * work.stride
    multiplied_at(
        at[WIDE] if work.wide else at[PRODUCT], at[WEIGHTS], at[SCALES], at[HELD], at[TILE] // 2,
        num_in, first, last, x, work.stride, num_rows, out, out_stride,
    )  # fmt: skip
    if at[BIAS]:
        for b in range(num_rows):
            added(out + b * out_stride + 4 * first, at[BIAS] + 4 * first, last - first)


@part
def norm_rows(shape: Any, work: Any, weight: int, whole: int, phase: int) -> int:
    """Norm each row of the stream for the product that follows, which may take whole numbers."""
    while True:
        b = claim(work.counters, phase)
        if b >= work.num_rows:
            break
        x, out = work.x + 4 * b * shape.width, work.floats + b * work.stride
        normed(shape.layer_norm, shape.norm_eps, x, weight, out, shape.width)
        if whole:
            rounded(out, work.wholes + b * work.stride, shape.width)
        finish(work.counters, phase)
    wait(work.counters, phase, work.num_rows)
    return phase + 1


@within
def round_rows(work: Any, count: int, phase: int) -> int:
    """Make the rows whole numbers for the product that follows."""
    while True:
        b = claim(work.counters, phase)
        if b >= work.num_rows:
            break
        rounded(work.floats + b * work.stride, work.wholes + b * work.stride, count)
        finish(work.counters, phase)
    wait(work.counters, phase, work.num_rows)
    return phase + 1


@part
def add_product(shape: Any, work: Any, matrix: int, num_in: int, norm: int, phase: int) -> int:
    """Multiply the rows and add what comes of it to the stream, normed where there is a norm."""
    size = piece(shape.width, work.num_threads, words(matrix)[TILE])
    count, stride = pieces(shape.width, size), 4 * shape.width
    while True:
        c = claim(work.counters, phase)
        if c >= count:
            break
        first, last = c * size, min((c + 1) * size, shape.width)
        multiply(matrix, num_in, first, last, work, 0, work.added, stride)
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


@within
def qkv_product(shape: Any, work: Any, table: int, phase: int) -> int:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    stride = 4 * (queries + 2 * keys)
    size = piece(queries + 2 * keys, work.num_threads, words(table)[Q + TILE])
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
        multiply(table + 8 * matrix, shape.width, first, last, work, 0, out, stride)
        finish(work.counters, phase)
    wait(work.counters, phase, count)
    return phase + 1


@within
def gated_product(shape: Any, work: Any, table: int, phase: int) -> int:
    """act(gate) * up, or act(up), of the rows, in the place of the rows themselves one phase on."""
    size = piece(shape.inner, work.num_threads, words(table)[UP + TILE])
    count, stride = pieces(shape.inner, size), 4 * shape.inner
    while True:
        c = claim(work.counters, phase)
        if c >= count:
            break
        first, last = c * size, min((c + 1) * size, shape.inner)
        multiply(table + 8 * UP, shape.width, first, last, work, 0, work.up, stride)
        if shape.gated:
            multiply(table + 8 * GATE, shape.width, first, last, work, 0, work.gate, stride)
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
        if words(table)[DOWN + WHOLE]:
            rounded(out, work.wholes + b * work.stride, shape.inner)
        finish(work.counters, phase)
    wait(work.counters, phase, work.num_rows)
    return phase + 1


@within
def widen_slot(shape: Any, work: Any, table: int, phase: int) -> int:
    """Make the keys and values of a prompt's slot float32, once for all rows."""
    seen = words(work.places)[2 * work.num_rows - 1] + 1
    of_head = pieces(seen, _POSITIONS)
    count = shape.kv_heads * of_head
    while True:
        c = claim(work.counters, phase)
        if c >= count:
            break
        first = c % of_head * _POSITIONS
        widen(shape, work, table, c // of_head, first, min(first + _POSITIONS, seen))
        finish(work.counters, phase)
    wait(work.counters, phase, count)
    return phase + 1


@within
def run(shape: Any, work: Any, thread: int) -> None:
    """The step."""
    for layer in range(shape.num_layers):
        table, phase = work.layers + 8 * COLUMNS * layer, PHASES * layer
        at = words(table)
        phase = norm_rows(
            shape, work, at[INPUT_NORM], at[Q + WHOLE] | at[K + WHOLE] | at[V + WHOLE], phase
        )
        phase = qkv_product(shape, work, table, phase)
        count = work.num_rows * shape.kv_heads
        # All first, for rows may be of one slot, where a later one sees the earlier.
        while True:
            c = claim(work.counters, phase)
            if c >= count:
                break
            keep(shape, work, table, c // shape.kv_heads, c % shape.kv_heads)
            finish(work.counters, phase)
        wait(work.counters, phase, count)
        phase += 1
        if work.wide and work.brief:
            phase = widen_slot(shape, work, table, phase)
        while True:
            c = claim(work.counters, phase)
            if c >= count:
                break
            attend(shape, work, table, c // shape.kv_heads, c % shape.kv_heads, thread)
            finish(work.counters, phase)
        wait(work.counters, phase, count)
        phase += 1
        seen = shape.heads * shape.head_dim
        if at[OUT + WHOLE]:
            phase = round_rows(work, seen, phase)
        phase = add_product(shape, work, table + 8 * OUT, seen, at[POST_ATTENTION], phase)
        phase = norm_rows(shape, work, at[MLP_NORM], at[UP + WHOLE] | at[GATE + WHOLE], phase)
        phase = gated_product(shape, work, table, phase)
        phase = add_product(shape, work, table + 8 * DOWN, shape.inner, at[POST_MLP], phase)
    end, phase = words(work.ends), PHASES * shape.num_layers
    phase = norm_rows(shape, work, end[LAST_NORM], end[HEAD + WHOLE], phase)
    size = piece(shape.vocab, work.num_threads, end[HEAD + TILE])
    num_rows, stride = work.num_rows - work.num_silent, 4 * shape.vocab
    count = pieces(shape.vocab, size) if num_rows else 0
    while True:
        c = claim(work.counters, phase)
        if c >= count:
            break
        first, last = c * size, min((c + 1) * size, shape.vocab)
        head = work.ends + 8 * HEAD
        multiply(head, shape.width, first, last, work, work.num_silent, work.logits, stride)
        if shape.softcap:
            for b in range(num_rows):
                capped(work.logits + b * stride + 4 * first, shape.softcap, last - first)
        finish(work.counters, phase)
    wait(work.counters, phase, count)
