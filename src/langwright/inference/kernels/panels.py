"""Products of many rows of activations with whole-number weights, for prompts.

The weights of 16 outputs are laid out as a panel, which stays in the core's cache while all rows
pass: numbers of 16 bits, two inputs side by side, eight outputs to a vector, so that one
instruction does sixteen products; six rows share what is fetched of it. A result is summed up in
the same order whatever the number of rows.

Legend as in `tiles.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langwright.inference.kernels.jit import cgutils, ir
from langwright.inference.kernels.llvm import (
    F32,
    FLOATS,
    GROUP,
    HALF,
    I8,
    I16,
    I32,
    I64,
    INTS,
    LANES,
    SHORTS,
    Code,
    Value,
)
from langwright.inference.kernels.tiles import Tile, group_tile, row_tile

OUTPUTS = 2 * LANES
"""Of a panel."""
_ROWS = 6
_INPUTS = 512
"""Of a panel, at most: it takes half of a core's nearest cache."""
_PAIR = 2 * OUTPUTS * 2
"""Bytes of two inputs of a panel."""
_PANEL = _INPUTS // 2 * _PAIR


def steps(c: Code, first: Value | int, end: Value | int, step: int) -> Any:
    """A loop over first, first + step and so on, before `end`."""
    start = c.word(first)
    return cgutils.for_range_slice(c.b, start, c.word(end), c.word(step), start.type, inc=True)


@dataclass(frozen=True)
class Source:
    """The weights of some outputs: where they lie, and how many lie beside them."""

    weights: Value
    scales: Value
    held: Value
    half: Value
    num_in: Value
    first: Value


@dataclass(frozen=True)
class Layout:
    """How panels are made of a kind of weights.

    `unpack` writes a group of inputs into the panels. `scales` gives what the sums of a panel are
    multiplied with, and what is added for each unit of the inputs' sum, as vectors; `grouped` says
    whether each group has its own. A second panel has the outputs that lie `half` a tile further.
    """

    num_panels: int
    grouped: bool
    unpack: Callable[[Code, Source, Value, Value], None]
    scales: Callable[[Code, Source, Value, Value], tuple[Value, Value | None]]
    rest: Tile | None = None
    """Of one output and one row: for those that fill no panel."""


def _unpack_bytes(c: Code, rows: list[Value], panel: Value) -> None:
    """A group of 8 outputs in int8; `panel` is the place of theirs in the panel."""
    for part in range(2):
        # Two inputs as one number: 8 outputs by 8 such numbers, to be turned over.
        block = [c.at(c.add(row, 16 * part), ir.VectorType(I16, LANES)) for row in rows]
        for _ in range(3):
            block = [
                c.shuffle(block[i], block[i + 4], [j // 2 + 8 * (j % 2) + 4 * h for j in range(8)])
                for i in range(4)
                for h in range(2)
            ]
        for pair, both in enumerate(block):
            values = c.b.sext(c.b.bitcast(both, ir.VectorType(I8, 2 * LANES)), SHORTS)
            c.put(values, c.add(panel, (LANES * part + pair) * _PAIR))


def _unpack_rows(c: Code, source: Source, group: Value, panel: Value) -> None:
    for vector in range(2):
        numbers = [c.add(source.first, vector * LANES + n) for n in range(LANES)]
        starts = [c.add(source.weights, c.mul(n, source.num_in)) for n in numbers]
        rows = [c.add(start, c.mul(group, GROUP)) for start in starts]
        _unpack_bytes(c, rows, c.add(panel, vector * 32))


def _unpack_groups(c: Code, source: Source, group: Value, panel: Value) -> None:
    place = c.add(c.mul(group, source.held), source.first)
    start = c.add(source.weights, c.mul(place, GROUP))
    for vector in range(2):
        rows = [c.add(start, (vector * LANES + n) * GROUP) for n in range(LANES)]
        _unpack_bytes(c, rows, c.add(panel, vector * 32))


def _unpack_nibbles(c: Code, source: Source, group: Value, panel: Value) -> None:
    column, half = ir.VectorType(I8, OUTPUTS), source.half
    tile = c.b.sdiv(source.first, c.mul(half, 2))
    within = c.b.srem(source.first, c.mul(half, 2))
    start = c.add(source.weights, c.mul(c.mul(tile, half), source.num_in), within)
    start = c.add(start, c.mul(c.mul(group, GROUP), half))
    with steps(c, 0, GROUP // 2, 1) as (pair, _):
        at = c.add(start, c.mul(c.mul(pair, half), 2))
        place = c.add(panel, c.mul(pair, _PAIR))
        one, two = c.at(at, column), c.at(c.add(at, half), column)
        for h in range(2):
            both = c.shuffle(one, two, [i // 2 + 16 * (i % 2) + 8 * h for i in range(16)])
            low = c.b.and_(both, c.constant(column, 15))
            high = c.b.lshr(both, c.constant(column, 4))
            for number, quants in enumerate((low, high)):
                values = c.b.sub(c.b.zext(quants, SHORTS), c.constant(SHORTS, 8))
                c.put(values, c.add(place, number * _PANEL + 32 * h))


def _scales_of_rows(c: Code, source: Source, group: Value, first: Value) -> tuple[Value, None]:
    held = ir.VectorType(I16, LANES)
    return c.widened(c.at(c.add(source.scales, c.mul(first, 2)), held)), None


def _scales_of_groups(c: Code, source: Source, group: Value, first: Value) -> tuple[Value, None]:
    place = c.add(source.scales, c.mul(c.add(c.mul(group, source.held), first), 2))
    return c.b.fpext(c.at(place, ir.VectorType(HALF, LANES)), FLOATS), None


def _scales_and_offsets(c: Code, source: Source, group: Value, first: Value) -> tuple[Value, Value]:
    place = c.add(source.scales, c.mul(c.add(c.mul(group, source.held), first), 4))
    both = c.at(place, INTS)
    scale = c.b.bitcast(c.b.shl(both, c.constant(INTS, 16)), FLOATS)
    return scale, c.b.bitcast(c.b.and_(both, c.constant(INTS, -65536)), FLOATS)


def by_panels(layout: Layout) -> Callable[..., None]:
    """The product by panels, with the arguments of `products.py`."""

    def write(
        c: Code, weights: Value, scales: Value, held: Value, half: Value, num_in: Value,
        first: Value, last: Value, x: Value, x_stride: Value, num_x: Value, out: Value,
        out_stride: Value,
    ) -> None:  # fmt: skip
        panel = _room(c, layout.num_panels)
        sixes = c.b.mul(c.b.udiv(num_x, I64(_ROWS)), I64(_ROWS))

        def block(source: Source, start: Value) -> None:
            """Some inputs of the panels' outputs, for all rows."""
            left = c.b.sub(num_in, start)
            size = I64(_INPUTS)
            size = c.b.select(c.b.icmp_signed("<", left, size), left, size)
            group, count = c.b.udiv(start, I64(GROUP)), c.b.udiv(size, I64(GROUP))
            with steps(c, 0, count, 1) as (number, _):
                place = c.add(panel, c.mul(number, GROUP // 2 * _PAIR))
                layout.unpack(c, source, c.add(group, number), place)
            for number in range(layout.num_panels):
                place = c.add(panel, number * _PANEL)
                outputs = c.add(source.first, c.mul(half, number))
                for num_rows, begin, end in ((_ROWS, 0, sixes), (1, sixes, num_x)):
                    with steps(c, begin, end, num_rows) as (n, _):
                        rows = [c.add(n, r) for r in range(num_rows)]
                        xs = [c.add(x, c.mul(row, x_stride)) for row in rows]
                        ys = [c.add(out, c.mul(row, out_stride), c.mul(outputs, 4)) for row in rows]
                        _add(c, layout, source, place, outputs, start, size, xs, ys)

        def outputs(row: Value) -> None:
            source = Source(weights, scales, held, half, num_in, row)
            with steps(c, 0, num_in, _INPUTS) as (start, _):
                block(source, start)
            with steps(c, 0, num_x, 1) as (n, _):
                scale = c.at(c.add(x, c.mul(n, x_stride), c.mul(num_in, 2)), F32)
                y = c.add(out, c.mul(n, out_stride), c.mul(row, 4))
                for number in range(layout.num_panels):
                    for vector in range(2):
                        at = c.add(y, c.mul(half, 4 * number), 32 * vector)
                        c.put(c.b.fmul(c.at(at, FLOATS), c.splat(scale, LANES)), at)

        if layout.num_panels > 1:
            whole = cgutils.for_range_slice(c.b, first, last, c.mul(half, 2), first.type, inc=True)
            with whole as (begin, _), steps(c, begin, c.add(begin, half), OUTPUTS) as (row, _):
                outputs(row)
            return
        assert layout.rest is not None
        whole = c.add(first, c.b.and_(c.b.sub(last, first), c.word(-OUTPUTS)))
        with steps(c, first, whole, OUTPUTS) as (row, _):
            outputs(row)
        with steps(c, whole, last, 1) as (row, _), steps(c, 0, num_x, 1) as (n, _):
            v, y = c.add(x, c.mul(n, x_stride)), c.add(out, c.mul(n, out_stride))
            layout.rest(c, weights, scales, held, half, num_in, row, v, x_stride, y, out_stride)

    return write


def _room(c: Code, num_panels: int) -> Value:
    """The address of memory for panels, on the stack, at the start of a cache line."""
    kind = ir.ArrayType(I8, num_panels * _PANEL + 64)
    with c.b.goto_entry_block():
        start = c.b.ptrtoint(c.b.alloca(kind), I64)
    return c.b.and_(c.add(start, 63), I64(-64))


def _add(
    c: Code, layout: Layout, source: Source, panel: Value, outputs: Value, start: Value,
    size: Value, xs: list[Value], ys: list[Value],
) -> None:  # fmt: skip
    """Add to the results of some rows what `size` inputs of a panel give."""
    unit = I64(GROUP) if layout.grouped else size
    with steps(c, 0, c.b.udiv(size, unit), 1) as (number, _):
        within = c.mul(number, unit)
        group = c.b.udiv(c.add(start, within), I64(GROUP))
        inputs = c.mul(c.add(start, within), 2)
        begin = c.add(panel, c.mul(within, _PAIR // 2))

        def pairs(turn: Value, sums: list[Value]) -> list[Value]:
            sums = list(sums)
            place = c.add(begin, c.mul(turn, _PAIR))
            w = [c.at(c.add(place, 32 * vector), SHORTS) for vector in range(2)]
            for r, row in enumerate(xs):
                both = c.at(c.add(row, inputs, c.mul(turn, 4)), I32)
                v = c.b.bitcast(c.splat(both, LANES), SHORTS)
                for vector in range(2):
                    j = 2 * r + vector
                    sums[j] = c.b.add(sums[j], c.pairs(w[vector], v))
            return sums

        zeros = [c.constant(INTS, 0)] * (2 * len(xs))
        sums = c.loop(c.b.udiv(unit, I64(2)), zeros, pairs)
        begun = c.b.icmp_signed(">", c.add(start, within), I64(0))
        for vector in range(2):
            at = c.add(outputs, vector * LANES)
            scale, offset = layout.scales(c, source, group, at)
            for r, y in enumerate(ys):
                place = c.add(y, 32 * vector)
                before = c.b.select(begun, c.at(place, FLOATS), c.constant(FLOATS, 0.0))
                found = c.fma(c.b.sitofp(sums[2 * r + vector], FLOATS), scale, before)
                if offset is not None:
                    total = c.add(xs[r], c.mul(source.num_in, 2), 4, c.mul(group, 4))
                    found = c.fma(c.splat(c.at(total, F32), LANES), offset, found)
                c.put(found, place)


ROWS8 = Layout(1, False, _unpack_rows, _scales_of_rows, row_tile(1, 1))
GROUPS8 = Layout(1, True, _unpack_groups, _scales_of_groups, group_tile(1, 1))
NIBBLES4 = Layout(2, True, _unpack_nibbles, _scales_and_offsets)
