"""Products of the rows of a step with some rows of a matrix, for each kind of weights."""

from __future__ import annotations

from typing import Any

from langwright.inference.kernels import kinds
from langwright.inference.kernels.jit import chosen
from langwright.inference.kernels.rows import rounded
from langwright.inference.kernels.tiles import float_tile, group_tile, nibble_tile, row_tile


def _by_rows(few: Any, many: Any, rest: Any) -> Any:
    """From tiles of 4 rows and 1 of activations, of 2 and 4, and of 1 and 1."""

    def product(  # type: ignore[no-untyped-def]
        kind, weights, scales, held, half, num_in, first, last, x, x_stride, num_x, out, out_stride
    ):  # fmt: skip
        whole = first + (last - first) // 4 * 4
        for r in range(first, whole, 4):
            for n in range(0, num_x - 3, 4):
                v, y = x + n * x_stride, out + n * out_stride
                many(weights, scales, held, half, num_in, r, v, x_stride, y, out_stride)
                many(weights, scales, held, half, num_in, r + 2, v, x_stride, y, out_stride)
            for n in range(num_x // 4 * 4, num_x):
                v, y = x + n * x_stride, out + n * out_stride
                few(weights, scales, held, half, num_in, r, v, x_stride, y, out_stride)
        for r in range(whole, last):
            for n in range(num_x):
                v, y = x + n * x_stride, out + n * out_stride
                rest(weights, scales, held, half, num_in, r, v, x_stride, y, out_stride)

    return product


def _by_columns(few: Any, many: Any) -> Any:
    def product(  # type: ignore[no-untyped-def]
        kind, weights, scales, held, half, num_in, first, last, x, x_stride, num_x, out, out_stride
    ):  # fmt: skip
        for tile in range(first, last, 2 * half):
            for r in range(tile, tile + half, 16):
                for n in range(0, num_x - 1, 2):
                    v, y = x + n * x_stride, out + n * out_stride
                    many(weights, scales, held, half, num_in, r, v, x_stride, y, out_stride)
                if num_x % 2:
                    v, y = x + (num_x - 1) * x_stride, out + (num_x - 1) * out_stride
                    few(weights, scales, held, half, num_in, r, v, x_stride, y, out_stride)

    return product


_PRODUCTS = {
    kinds.Float32: _by_rows(*(float_tile(r, n, False) for r, n in ((4, 1), (2, 4), (1, 1)))),
    kinds.BFloat16: _by_rows(*(float_tile(r, n, True) for r, n in ((4, 1), (2, 4), (1, 1)))),
    kinds.Rows8: _by_rows(*(row_tile(r, n) for r, n in ((4, 1), (2, 4), (1, 1)))),
    kinds.Groups8: _by_rows(*(group_tile(r, n) for r, n in ((4, 1), (2, 4), (1, 1)))),
    kinds.Nibbles4: _by_columns(nibble_tile(1), nibble_tile(2)),
}
_AS_FLOATS = (kinds.Float32, kinds.BFloat16)


def choose(kind: Any, *given: Any) -> None:
    """The product of this kind."""


def source(kind: Any, floats: int, wholes: int) -> int:
    """Where a product of this kind reads the activations."""
    raise NotImplementedError


def prepare(kind: Any, floats: int, wholes: int, count: int) -> None:
    """Make a row of activations what a product of this kind reads."""


@chosen(choose)
def _choose(  # type: ignore[no-untyped-def]
    kind, weights, scales, held, half, num_in, first, last, x, x_stride, num_x, out, out_stride
):
    return _PRODUCTS[kind.instance_class]


@chosen(source)
def _source(kind, floats, wholes):  # type: ignore[no-untyped-def]
    if kind.instance_class in _AS_FLOATS:
        return lambda kind, floats, wholes: floats
    return lambda kind, floats, wholes: wholes


@chosen(prepare)
def _prepare(kind, floats, wholes, count):  # type: ignore[no-untyped-def]
    if kind.instance_class in _AS_FLOATS:
        return lambda kind, floats, wholes, count: None
    return lambda kind, floats, wholes, count: rounded(floats, wholes, count)
