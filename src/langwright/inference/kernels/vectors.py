"""What attention and norms do with whole vectors: products, weighted sums, sums and the largest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langwright.inference.kernels.jit import intrinsic, ir, types
from langwright.inference.kernels.llvm import (
    F32,
    FLOATS,
    I16,
    I32,
    I64,
    LANES,
    Builder,
    Code,
    Value,
)


def _code(write: Callable[..., None]) -> Any:
    """What Numba calls to write a kernel that returns nothing."""

    def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        write(Code(builder), *args)
        return context.get_dummy_value()

    return code


def score_tile(num_queries: int, num_keys: int, brief: bool) -> Any:
    """The products of some queries with some keys [C, D], each `size` bytes behind the last."""
    size = 2 if brief else 4
    held = ir.VectorType(I16, LANES) if brief else FLOATS

    def write(
        c: Code, queries: Value, stride: Value, keys: Value, width: Value, out: Value, room: Value
    ) -> None:
        rows = [c.add(queries, c.mul(stride, n)) for n in range(num_queries)]

        def body(number: Value, sums: list[Value]) -> list[Value]:
            at = c.mul(number, LANES)
            q = [c.at(c.add(row, c.mul(at, 4)), FLOATS) for row in rows]
            found = list(sums)
            for i in range(num_keys):
                k = c.at(c.add(keys, c.mul(c.add(at, c.mul(width, i)), size)), held)
                k = c.widened(k) if brief else k
                for n in range(num_queries):
                    found[i * num_queries + n] = c.fma(q[n], k, found[i * num_queries + n])
            return found

        zeros = [c.constant(FLOATS, 0.0)] * (num_queries * num_keys)
        for i, one in enumerate(c.loop(c.b.sdiv(width, I64(LANES)), zeros, body)):
            key, n = divmod(i, num_queries)
            c.put(c.total(one), c.add(out, c.mul(room, n), 4 * key))

    @intrinsic
    def tile(
        typing: Any, queries: Any, stride: Any, keys: Any, width: Any, out: Any, room: Any
    ) -> Any:
        return types.void(*[types.int64] * 6), _code(write)

    return tile


def mix_tile(num_queries: int, num_vectors: int, brief: bool) -> Any:
    """The sums of values [C, D], each with its weight, for some queries: `num_vectors` times 8 of
    the D."""
    size = 2 if brief else 4
    held = ir.VectorType(I16, LANES) if brief else FLOATS

    def write(
        c: Code, weights: Value, room: Value, values: Value, count: Value, width: Value,
        out: Value, stride: Value,
    ) -> None:  # fmt: skip
        rows = [c.add(weights, c.mul(room, n)) for n in range(num_queries)]

        def body(number: Value, sums: list[Value]) -> list[Value]:
            w = [c.splat(c.at(c.add(row, c.mul(number, 4)), F32), LANES) for row in rows]
            row = c.add(values, c.mul(c.mul(number, width), size))
            found = list(sums)
            for i in range(num_vectors):
                v = c.at(c.add(row, i * LANES * size), held)
                v = c.widened(v) if brief else v
                for n in range(num_queries):
                    found[i * num_queries + n] = c.fma(w[n], v, found[i * num_queries + n])
            return found

        zeros = [c.constant(FLOATS, 0.0)] * (num_queries * num_vectors)
        for i, one in enumerate(c.loop(count, zeros, body)):
            vector, n = divmod(i, num_queries)
            c.put(one, c.add(out, c.mul(stride, n), 4 * LANES * vector))

    @intrinsic
    def tile(
        typing: Any, weights: Any, room: Any, values: Any, count: Any, width: Any, out: Any,
        stride: Any,
    ) -> Any:  # fmt: skip
        return types.void(*[types.int64] * 7), _code(write)

    return tile


def _reduction(start: float, write: Callable[[Code, Value, Value], Value], last: str) -> Any:
    @intrinsic
    def reduce(typing: Any, address: Any, count: Any) -> Any:
        def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
            c = Code(builder)

            def body(number: Value, found: list[Value]) -> list[Value]:
                x = c.at(c.add(args[0], c.mul(number, 4 * LANES)), FLOATS)
                return [write(c, x, found[0])]

            whole = c.b.sdiv(args[1], I64(LANES))
            (found,) = c.loop(whole, [c.constant(FLOATS, start)], body)
            if last == "sum":
                return c.total(found)
            most = [c.b.extract_element(found, I32(i)) for i in range(LANES)]
            while len(most) > 1:
                most = [c.call("llvm.maxnum.f32", *most[i : i + 2]) for i in range(0, len(most), 2)]
            return most[0]

        return types.float32(types.int64, types.int64), code

    return reduce


_MAX = f"llvm.maxnum.v{LANES}f32"
sum_of = _reduction(0.0, lambda c, x, found: c.b.fadd(found, x), "sum")
"""The sum of `count` numbers, a multiple of 8."""
squares_of = _reduction(0.0, lambda c, x, found: c.fma(x, x, found), "sum")
most_of = _reduction(float("-inf"), lambda c, x, found: c.call(_MAX, found, x), "max")
largest_of = _reduction(
    0.0, lambda c, x, found: c.call(_MAX, found, c.call(f"llvm.fabs.v{LANES}f32", x)), "max"
)
"""The largest without its sign."""
