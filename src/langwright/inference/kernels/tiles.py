"""Products of a few rows of weights with a few rows of activations, written for LLVM.

Vectors have 256 bits, whatever the machine has: LLVM splits or keeps them. A result is summed up
in the same order wherever it stands in a tile, so that it does not depend on its neighbours.

Legend: N outputs, K inputs, G groups of 32 inputs, R rows of weights in a tile, B of activations.

Activations for whole-number weights are whole numbers of 16 bits as well: K of them, then their
scale (float32), then the sums of each group (float32).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langwright.inference.kernels.jit import cgutils, intrinsic, ir, types

Value = Any
Builder = Any
LANES = 8
GROUP = 32
AHEAD, GROUPS_AHEAD, NIBBLES_AHEAD = 4096, 512, 1024
"""Bytes from what is multiplied to what is fetched, of those that lie behind each other."""
F32, HALF = ir.FloatType(), ir.HalfType()
I8, I16, I32, I64 = (ir.IntType(size) for size in (8, 16, 32, 64))
FLOATS = ir.VectorType(F32, LANES)
INTS = ir.VectorType(I32, LANES)
SHORTS = ir.VectorType(I16, 2 * LANES)


class Code:
    """A builder with the few operations that the tiles are made of."""

    def __init__(self, builder: Builder) -> None:
        self.b = builder

    def at(self, address: Value, kind: ir.Type) -> Value:
        """The value of this type at an address."""
        loaded = self.b.load(self.b.inttoptr(address, kind.as_pointer()))
        loaded.align = 1
        return loaded

    def put(self, value: Value, address: Value) -> None:
        self.b.store(value, self.b.inttoptr(address, value.type.as_pointer())).align = 1

    def add(self, *numbers: Value | int) -> Value:
        total = self.word(numbers[0])
        for one in numbers[1:]:
            total = self.b.add(total, self.word(one))
        return total

    def mul(self, first: Value, second: Value | int) -> Value:
        return self.b.mul(first, self.word(second))

    @staticmethod
    def word(number: Value | int) -> Value:
        return I64(number) if isinstance(number, int) else number

    def shuffle(self, first: Value, second: Value | None, places: Sequence[int]) -> Value:
        other = ir.Constant(first.type, ir.Undefined) if second is None else second
        mask = ir.Constant(ir.VectorType(I32, len(places)), [I32(one) for one in places])
        return self.b.shuffle_vector(first, other, mask)

    def splat(self, value: Value, count: int) -> Value:
        vector = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
        return self.shuffle(self.b.insert_element(vector, value, I32(0)), None, [0] * count)

    def lane(self, vector: Value, place: int) -> Value:
        """One lane of a vector, in all lanes."""
        return self.shuffle(vector, None, [place] * LANES)

    def constant(self, kind: ir.Type, value: int | float) -> Value:
        return ir.Constant(kind, [value] * kind.count)

    def call(self, name: str, *args: Value) -> Value:
        kind = ir.FunctionType(args[0].type, [one.type for one in args])
        return self.b.call(cgutils.get_or_insert_function(self.b.module, kind, name), args)

    def fma(self, first: Value, second: Value, third: Value) -> Value:
        return self.call(f"llvm.fma.v{LANES}f32", first, second, third)

    def prefetch(self, address: Value) -> None:
        """Ask for a cache line that is read soon: rows are too short for the machine to guess."""
        place = self.b.inttoptr(address, I8.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, I32, I32, I32])
        called = cgutils.get_or_insert_function(self.b.module, kind, "llvm.prefetch.p0")
        self.b.call(called, [place, I32(0), I32(3), I32(1)])

    def pairs(self, first: Value, second: Value) -> Value:
        """The products of 16-bit numbers, added in pairs: `pmaddwd` of x86."""
        wide = ir.VectorType(I32, first.type.count)
        products = self.b.mul(self.b.sext(first, wide), self.b.sext(second, wide))
        even = self.shuffle(products, None, range(0, wide.count, 2))
        odd = self.shuffle(products, None, range(1, wide.count, 2))
        return self.b.add(even, odd)

    def total(self, vector: Value) -> Value:
        """The sum of the lanes, halves first."""
        count = vector.type.count
        while count > 1:
            count //= 2
            low = self.shuffle(vector, None, range(count))
            high = self.shuffle(vector, None, range(count, 2 * count))
            vector = self.b.fadd(low, high)
        return self.b.extract_element(vector, I32(0))

    def widened(self, halves: Value) -> Value:
        """bfloat16 bits as float32."""
        wide = ir.VectorType(I32, halves.type.count)
        moved = self.b.shl(self.b.zext(halves, wide), self.constant(wide, 16))
        return self.b.bitcast(moved, ir.VectorType(F32, halves.type.count))

    def loop(
        self,
        count: Value,
        values: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """Do `body` `count` times, at least once, with the values that it gave before."""
        before, inside = self.b.block, self.b.append_basic_block("loop")
        self.b.branch(inside)
        self.b.position_at_end(inside)
        number = self.b.phi(I64)
        number.add_incoming(I64(0), before)
        phis = [self.b.phi(one.type) for one in values]
        for phi, one in zip(phis, values, strict=True):
            phi.add_incoming(one, before)
        found = body(number, phis)
        following = self.b.add(number, I64(1))
        end = self.b.block
        number.add_incoming(following, end)
        for phi, one in zip(phis, found, strict=True):
            phi.add_incoming(one, end)
        behind = self.b.append_basic_block("behind")
        self.b.cbranch(self.b.icmp_signed("<", following, count), inside, behind)
        self.b.position_at_end(behind)
        return list(found)


Tile = Callable[..., None]
"""Writes the code of one tile: from `Code`, weights, scales, held rows, half a tile of outputs, K,
the first output, the activations, the bytes between two of them, and the same of the results."""


def _code(write: Callable[..., None]) -> Any:
    """What Numba calls to write a kernel that returns nothing."""

    def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        write(Code(builder), *args)
        return context.get_dummy_value()

    return code


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


def score_tile(num_keys: int, brief: bool) -> Any:
    """The products of one query with some keys [C, D], each `size` bytes behind the last."""
    size = 2 if brief else 4
    held = ir.VectorType(I16, LANES) if brief else FLOATS

    def write(c: Code, query: Value, keys: Value, width: Value, out: Value) -> None:
        def body(number: Value, sums: list[Value]) -> list[Value]:
            at = c.mul(number, LANES)
            q = c.at(c.add(query, c.mul(at, 4)), FLOATS)
            found = []
            for i, one in enumerate(sums):
                k = c.at(c.add(keys, c.mul(c.add(at, c.mul(width, i)), size)), held)
                found.append(c.fma(q, c.widened(k) if brief else k, one))
            return found

        zeros = [c.constant(FLOATS, 0.0)] * num_keys
        for i, one in enumerate(c.loop(c.b.sdiv(width, I64(LANES)), zeros, body)):
            c.put(c.total(one), c.add(out, 4 * i))

    @intrinsic
    def tile(typing: Any, query: Any, keys: Any, width: Any, out: Any) -> Any:
        return types.void(*[types.int64] * 4), _code(write)

    return tile


def mix_tile(num_vectors: int, brief: bool) -> Any:
    """The sum of values [C, D], each with its weight: `num_vectors` times 8 of the D."""
    size = 2 if brief else 4
    held = ir.VectorType(I16, LANES) if brief else FLOATS

    def write(
        c: Code, weights: Value, values: Value, count: Value, width: Value, out: Value
    ) -> None:
        def body(number: Value, sums: list[Value]) -> list[Value]:
            weight = c.splat(c.at(c.add(weights, c.mul(number, 4)), F32), LANES)
            row = c.add(values, c.mul(c.mul(number, width), size))
            found = []
            for i, one in enumerate(sums):
                v = c.at(c.add(row, i * LANES * size), held)
                found.append(c.fma(weight, c.widened(v) if brief else v, one))
            return found

        zeros = [c.constant(FLOATS, 0.0)] * num_vectors
        for i, one in enumerate(c.loop(count, zeros, body)):
            c.put(one, c.add(out, 4 * LANES * i))

    @intrinsic
    def tile(typing: Any, weights: Any, values: Any, count: Any, width: Any, out: Any) -> Any:
        return types.void(*[types.int64] * 5), _code(write)

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
