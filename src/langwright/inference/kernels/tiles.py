"""Products of a few rows of weights with a few rows of activations, written for LLVM.

Vectors have 256 bits, whatever the machine has: LLVM splits or keeps them. A result is summed up
in the same order wherever it stands in a tile, so that it does not depend on its neighbours.

Legend: N outputs, K inputs, G groups of 32 inputs, R rows of weights in a tile, B of activations.

Activations for whole-number weights are whole numbers of 16 bits as well: K of them, then their
scale (float32), then the sums of each group (float32).
"""

from __future__ import annotations

from collections.abc import Callable

from langwright.inference.kernels.jit import ir
from langwright.inference.kernels.llvm import (
    AHEAD,
    F32,
    FLOATS,
    GROUP,
    GROUPS_AHEAD,
    HALF,
    I8,
    I16,
    I32,
    I64,
    INTS,
    LANES,
    NIBBLES_AHEAD,
    SHORTS,
    Code,
    Value,
)

Tile = Callable[..., None]
"""Writes the code of one tile: from `Code`, weights, scales, held rows, half a tile of outputs, K,
the first output, the activations, the bytes between two of them, and the same of the results."""


def float_tile(num_rows: int, num_x: int, brief: bool) -> Tile:
    """Weights [N, K] in float32, or `brief` in bfloat16."""
    size = 2 if brief else 4
    held = ir.VectorType(I16, LANES) if brief else FLOATS

    def write(
        c: Code, weights: Value, scales: Value, held_rows: Value, half: Value, num_in: Value,
        first: Value, x: Value, x_stride: Value, out: Value, out_stride: Value,
    ) -> None:  # fmt: skip
        rows = [
            c.add(weights, c.mul(c.mul(c.add(first, r), num_in), size)) for r in range(num_rows)
        ]
        xs = [c.add(x, c.mul(x_stride, i)) for i in range(num_x)]

        def body(number: Value, sums: list[Value]) -> list[Value]:
            for row in rows:
                for line in range(0, GROUP * size, 64):
                    c.prefetch(c.add(row, c.mul(number, GROUP * size), AHEAD + line))
            for part in range(GROUP // LANES):
                at = c.add(c.mul(number, GROUP), part * LANES)
                w = [c.at(c.add(row, c.mul(at, size)), held) for row in rows]
                w = [c.widened(one) for one in w] if brief else w
                v = [c.at(c.add(one, c.mul(at, 4)), FLOATS) for one in xs]
                sums = [c.fma(w[i // num_x], v[i % num_x], one) for i, one in enumerate(sums)]
            return sums

        zeros = [c.constant(FLOATS, 0.0)] * (num_rows * num_x)
        sums = c.loop(c.b.sdiv(num_in, I64(GROUP)), zeros, body)
        for i, one in enumerate(sums):
            r, n = divmod(i, num_x)
            c.put(c.total(one), c.add(out, c.mul(out_stride, n), c.mul(c.add(first, r), 4)))

    return write


def row_tile(num_rows: int, num_x: int) -> Tile:
    """Weights [N, K] in int8, each row with a scale in bfloat16."""
    held = ir.VectorType(I8, 2 * LANES)

    def write(
        c: Code, weights: Value, scales: Value, held_rows: Value, half: Value, num_in: Value,
        first: Value, x: Value, x_stride: Value, out: Value, out_stride: Value,
    ) -> None:  # fmt: skip
        rows = [c.add(weights, c.mul(c.add(first, r), num_in)) for r in range(num_rows)]
        xs = [c.add(x, c.mul(x_stride, i)) for i in range(num_x)]

        def body(number: Value, sums: list[Value]) -> list[Value]:
            for row in rows:
                c.prefetch(c.add(row, c.mul(number, GROUP), AHEAD))
            for part in range(GROUP // (2 * LANES)):
                at = c.add(c.mul(number, GROUP), part * 2 * LANES)
                w = [c.b.sext(c.at(c.add(row, at), held), SHORTS) for row in rows]
                v = [c.at(c.add(one, c.mul(at, 2)), SHORTS) for one in xs]
                sums = [
                    c.b.add(one, c.pairs(w[i // num_x], v[i % num_x])) for i, one in enumerate(sums)
                ]
            return sums

        zeros = [c.constant(INTS, 0)] * (num_rows * num_x)
        sums = c.loop(c.b.sdiv(num_in, I64(GROUP)), zeros, body)
        for i, one in enumerate(sums):
            r, n = divmod(i, num_x)
            scale = c.b.zext(c.at(c.add(scales, c.mul(c.add(first, r), 2)), I16), I32)
            scale = c.b.bitcast(c.b.shl(scale, I32(16)), F32)
            x_scale = c.at(c.add(xs[n], c.mul(num_in, 2)), F32)
            value = c.b.fmul(c.total(c.b.sitofp(one, FLOATS)), c.b.fmul(scale, x_scale))
            c.put(value, c.add(out, c.mul(out_stride, n), c.mul(c.add(first, r), 4)))

    return write


def group_tile(num_rows: int, num_x: int) -> Tile:
    """Weights [G, N, 32] in int8, each group with a scale in float16, [G, N]."""
    held = ir.VectorType(I8, 2 * LANES)

    def write(
        c: Code, weights: Value, scales: Value, held_rows: Value, half: Value, num_in: Value,
        first: Value, x: Value, x_stride: Value, out: Value, out_stride: Value,
    ) -> None:  # fmt: skip
        xs = [c.add(x, c.mul(x_stride, i)) for i in range(num_x)]

        def body(number: Value, sums: list[Value]) -> list[Value]:
            place = c.add(c.mul(number, held_rows), first)
            w, v = c.add(weights, c.mul(place, GROUP)), c.mul(number, 2 * GROUP)
            values = [[c.at(c.add(one, v, 32 * h), SHORTS) for h in range(2)] for one in xs]
            found = list(sums)
            for line in range(0, GROUP * num_rows, 64):
                c.prefetch(c.add(w, GROUPS_AHEAD + line))
            for r in range(num_rows):
                quants = [
                    c.b.sext(c.at(c.add(w, GROUP * r + 16 * h), held), SHORTS) for h in range(2)
                ]
                scale = c.b.fpext(c.at(c.add(scales, c.mul(c.add(place, r), 2)), HALF), F32)
                for n in range(num_x):
                    low, high = (c.pairs(quants[h], values[n][h]) for h in range(2))
                    whole = c.b.sitofp(c.b.add(low, high), FLOATS)
                    i = r * num_x + n
                    found[i] = c.fma(whole, c.splat(scale, LANES), sums[i])
            return found

        zeros = [c.constant(FLOATS, 0.0)] * (num_rows * num_x)
        sums = c.loop(c.b.sdiv(num_in, I64(GROUP)), zeros, body)
        for i, one in enumerate(sums):
            r, n = divmod(i, num_x)
            x_scale = c.at(c.add(xs[n], c.mul(num_in, 2)), F32)
            value = c.b.fmul(c.total(one), x_scale)
            c.put(value, c.add(out, c.mul(out_stride, n), c.mul(c.add(first, r), 4)))

    return write


def nibble_tile(num_x: int) -> Tile:
    """Weights as torch packs them to 4 bits: of 2 * `half` outputs, for one input after the other,
    the first `half` in the low bits and the second in the high ones. `first` is the first of 16
    outputs in the low bits. Scales and offsets [G, N, 2] in bfloat16."""
    column = ir.VectorType(I8, 16)
    quarters = range(4)  # the outputs 0 to 7 and 8 to 15, in the low bits and in the high ones

    def write(
        c: Code, weights: Value, scales: Value, held_rows: Value, half: Value, num_in: Value,
        first: Value, x: Value, x_stride: Value, out: Value, out_stride: Value,
    ) -> None:  # fmt: skip
        tile = c.b.sdiv(first, c.mul(half, 2))
        within = c.b.srem(first, c.mul(half, 2))
        start = c.add(weights, c.mul(c.mul(tile, half), num_in), within)
        xs = [c.add(x, c.mul(x_stride, i)) for i in range(num_x)]
        outputs = [c.add(first, 8 * (q % 2), c.mul(half, q // 2)) for q in quarters]

        def body(number: Value, sums: list[Value]) -> list[Value]:
            at = c.mul(number, GROUP)

            def pair(place: Value, inner: list[Value]) -> list[Value]:
                inner = list(inner)
                c.prefetch(c.add(start, c.mul(c.add(at, c.mul(place, 8)), half), NIBBLES_AHEAD))
                for step in range(4):
                    k = c.add(at, c.mul(place, 8), 2 * step)
                    w = c.add(start, c.mul(k, half))
                    one, two = c.at(w, column), c.at(c.add(w, half), column)
                    both = [
                        c.shuffle(one, two, [i // 2 + 16 * (i % 2) + 8 * h for i in range(16)])
                        for h in range(2)
                    ]
                    quants = [c.b.and_(h, c.constant(column, 15)) for h in both]
                    quants += [c.b.lshr(h, c.constant(column, 4)) for h in both]
                    quants = [c.b.zext(q, SHORTS) for q in quants]
                    for n in range(num_x):
                        v = c.splat(c.at(c.add(xs[n], c.mul(k, 2)), I32), LANES)
                        v = c.b.bitcast(v, SHORTS)
                        for q in quarters:
                            i = 4 * n + q
                            inner[i] = c.b.add(inner[i], c.pairs(quants[q], v))
                return inner

            inner = c.loop(I64(4), [c.constant(INTS, 0)] * (4 * num_x), pair)
            found = list(sums)
            for q in quarters:
                place = c.add(c.mul(number, held_rows), outputs[q])
                both = c.at(c.add(scales, c.mul(place, 4)), INTS)
                scale = c.b.bitcast(c.b.shl(both, c.constant(INTS, 16)), FLOATS)
                offset = c.b.bitcast(c.b.and_(both, c.constant(INTS, -65536)), FLOATS)
                offset = c.fma(scale, c.constant(FLOATS, -8.0), offset)
                for n in range(num_x):
                    total = c.at(c.add(xs[n], c.mul(num_in, 2), 4, c.mul(number, 4)), F32)
                    i = 4 * n + q
                    found[i] = c.fma(c.b.sitofp(inner[i], FLOATS), scale, found[i])
                    found[i] = c.fma(c.splat(total, LANES), offset, found[i])
            return found

        zeros = [c.constant(FLOATS, 0.0)] * (4 * num_x)
        sums = c.loop(c.b.sdiv(num_in, I64(GROUP)), zeros, body)
        for i, one in enumerate(sums):
            n, q = divmod(i, 4)
            x_scale = c.splat(c.at(c.add(xs[n], c.mul(num_in, 2)), F32), LANES)
            place = c.add(out, c.mul(out_stride, n), c.mul(outputs[q], 4))
            c.put(c.b.fmul(one, x_scale), place)

    return write
