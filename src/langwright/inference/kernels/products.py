"""Products of the rows of a step with some rows of a matrix, for each kind of weights."""

from __future__ import annotations

from functools import cache
from typing import Any

from langwright.inference.kernels.disk import kept_on_disk
from langwright.inference.kernels.jit import cgutils, intrinsic, ir, numba, types
from langwright.inference.kernels.kinds import Kind
from langwright.inference.kernels.llvm import Code, Value
from langwright.inference.kernels.panels import GROUPS8, NIBBLES4, ROWS8, by_panels, steps
from langwright.inference.kernels.tiles import (
    Tile,
    float_tile,
    group_tile,
    nibble_tile,
    row_tile,
)

_ARGS = 12
_COLUMN = 16


def _by_rows(few: Tile, many: Tile, rest: Tile) -> Any:
    """From tiles of 4 rows and 1 of activations, of 2 and 4, and of 1 and 1."""

    def write(
        c: Code, weights: Value, scales: Value, held: Value, half: Value, num_in: Value,
        first: Value, last: Value, x: Value, x_stride: Value, num_x: Value, out: Value,
        out_stride: Value,
    ) -> None:  # fmt: skip
        def tile(one: Tile, row: Value, n: Value) -> None:
            v, y = c.add(x, c.mul(n, x_stride)), c.add(out, c.mul(n, out_stride))
            one(c, weights, scales, held, half, num_in, row, v, x_stride, y, out_stride)

        whole = c.b.and_(c.b.sub(last, first), c.word(-4))
        whole = c.add(first, whole)
        fours = c.b.and_(num_x, c.word(-4))
        with steps(c, first, whole, 4) as (row, _):
            with steps(c, 0, fours, 4) as (n, _):
                tile(many, row, n)
                tile(many, c.add(row, 2), n)
            with steps(c, fours, num_x, 1) as (n, _):
                tile(few, row, n)
        with steps(c, whole, last, 1) as (row, _), steps(c, 0, num_x, 1) as (n, _):
            tile(rest, row, n)

    return write


def _by_columns(few: Tile, many: Tile) -> Any:
    """From tiles of 1 and of 2 rows of activations."""

    def write(
        c: Code, weights: Value, scales: Value, held: Value, half: Value, num_in: Value,
        first: Value, last: Value, x: Value, x_stride: Value, num_x: Value, out: Value,
        out_stride: Value,
    ) -> None:  # fmt: skip
        def tile(one: Tile, row: Value, n: Value) -> None:
            v, y = c.add(x, c.mul(n, x_stride)), c.add(out, c.mul(n, out_stride))
            one(c, weights, scales, held, half, num_in, row, v, x_stride, y, out_stride)

        twos = c.b.and_(num_x, c.word(-2))
        whole = cgutils.for_range_slice(c.b, first, last, c.mul(half, 2), first.type, inc=True)
        with whole as (start, _), steps(c, start, c.add(start, half), _COLUMN) as (row, _):
            with steps(c, 0, twos, 2) as (n, _):
                tile(many, row, n)
            with steps(c, twos, num_x, 1) as (n, _):
                tile(few, row, n)

    return write


def _intrinsic(write: Any) -> Any:
    @intrinsic
    def product(
        typing: Any, weights: Any, scales: Any, held: Any, half: Any, num_in: Any, first: Any,
        last: Any, x: Any, x_stride: Any, num_x: Any, out: Any, out_stride: Any,
    ) -> Any:  # fmt: skip
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            write(Code(builder), *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * _ARGS), code

    return product


_float32 = _intrinsic(_by_rows(*(float_tile(r, n, False) for r, n in ((4, 1), (2, 4), (1, 1)))))
_bfloat16 = _intrinsic(_by_rows(*(float_tile(r, n, True) for r, n in ((4, 1), (2, 4), (1, 1)))))
_rows8 = _intrinsic(_by_rows(*(row_tile(r, n) for r, n in ((4, 1), (2, 4), (1, 1)))))
_groups8 = _intrinsic(_by_rows(*(group_tile(r, n) for r, n in ((4, 1), (2, 4), (1, 1)))))
_nibbles4 = _intrinsic(_by_columns(nibble_tile(1), nibble_tile(2)))
_wide_rows8, _wide_groups8, _wide_nibbles4 = (
    _intrinsic(by_panels(one)) for one in (ROWS8, GROUPS8, NIBBLES4)
)


# Functions of a module, for Numba keeps no other on disk. A to L are weights, scales, held rows,
# half a tile, K, first and last output, activations, their stride, their number, results, stride.


def float32(a, b, c, d, e, f, g, h, i, j, k, l):  # type: ignore[no-untyped-def]  # noqa: E741
    _float32(a, b, c, d, e, f, g, h, i, j, k, l)


def bfloat16(a, b, c, d, e, f, g, h, i, j, k, l):  # type: ignore[no-untyped-def]  # noqa: E741
    _bfloat16(a, b, c, d, e, f, g, h, i, j, k, l)


def rows8(a, b, c, d, e, f, g, h, i, j, k, l):  # type: ignore[no-untyped-def]  # noqa: E741
    _rows8(a, b, c, d, e, f, g, h, i, j, k, l)


def groups8(a, b, c, d, e, f, g, h, i, j, k, l):  # type: ignore[no-untyped-def]  # noqa: E741
    _groups8(a, b, c, d, e, f, g, h, i, j, k, l)


def nibbles4(a, b, c, d, e, f, g, h, i, j, k, l):  # type: ignore[no-untyped-def]  # noqa: E741
    _nibbles4(a, b, c, d, e, f, g, h, i, j, k, l)


def wide_rows8(a, b, c, d, e, f, g, h, i, j, k, l):  # type: ignore[no-untyped-def]  # noqa: E741
    _wide_rows8(a, b, c, d, e, f, g, h, i, j, k, l)


def wide_groups8(a, b, c, d, e, f, g, h, i, j, k, l):  # type: ignore[no-untyped-def]  # noqa: E741
    _wide_groups8(a, b, c, d, e, f, g, h, i, j, k, l)


def wide_nibbles4(a, b, c, d, e, f, g, h, i, j, k, l):  # type: ignore[no-untyped-def]  # noqa: E741
    _wide_nibbles4(a, b, c, d, e, f, g, h, i, j, k, l)


@cache
def product(kind: Kind, wide: bool = False) -> Any:
    """The compiled product of a kind, or the `wide` one for many rows, which whole numbers have;
    its `address` is what a step calls."""
    with kept_on_disk():
        signature = types.void(*[types.int64] * _ARGS)
        name = f"wide_{kind.value}" if wide else kind.value
        return numba.cfunc(signature, cache=True)(globals()[name])


@intrinsic
def multiplied_at(
    typing: Any, address: Any, weights: Any, scales: Any, held: Any, half: Any, num_in: Any,
    first: Any, last: Any, x: Any, x_stride: Any, num_x: Any, out: Any, out_stride: Any,
) -> Any:  # fmt: skip
    """Call the product at an address."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [one.type for one in args[1:]])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * (_ARGS + 1)), code
