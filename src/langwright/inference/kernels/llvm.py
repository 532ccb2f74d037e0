"""Vectors for kernels, written for LLVM.

They have 256 bits, whatever the machine has: LLVM splits or keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langwright.inference.kernels.jit import cgutils, ir

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
