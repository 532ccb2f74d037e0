"""What Numba lacks for kernels: raw memory, atomic counters and a pause.

Addresses are plain whole numbers (int64), so that no reference is counted in a kernel.
"""

from __future__ import annotations

import sys
from typing import Any

from langwright.inference.kernels.jit import cgutils, intrinsic, ir, part, types, within

Builder = Any
WORD = ir.IntType(64)


def _cast(element: types.Type) -> Any:
    @intrinsic
    def cast(typing: Any, address: types.Type) -> Any:
        def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), code

    return cast


floats = _cast(types.float32)
"""The float32 numbers at an address."""
shorts = _cast(types.int16)
halves = _cast(types.uint16)
words = _cast(types.int64)


@intrinsic
def bits(typing: Any, value: types.Type) -> Any:
    """The bits of a float32, as int32."""

    def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), code


@intrinsic
def from_bits(typing: Any, value: types.Type) -> Any:
    """The float32 of these bits."""

    def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), code


@intrinsic
def fetch_add(typing: Any, address: types.Type, value: types.Type) -> Any:
    """Add to the int64 at an address, for all threads in one order; what it was before."""

    def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], WORD.as_pointer())
        return builder.atomic_rmw("add", place, args[1], "seq_cst")

    return types.int64(types.int64, types.int64), code


@intrinsic
def load(typing: Any, address: types.Type) -> Any:
    """The int64 at an address, and all that was written before it was."""

    def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], WORD.as_pointer())
        return builder.load_atomic(place, "seq_cst", 8)

    return types.int64(types.int64), code


@intrinsic
def store(typing: Any, address: types.Type, value: types.Type) -> Any:
    """Let the other threads see a number, and with it all that was written before."""

    def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], WORD.as_pointer())
        builder.store_atomic(args[1], place, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the core that this is a waiting loop."""

    def code(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        triple = builder.module.triple
        if triple.startswith(("x86_64", "i686")):
            name, given = "llvm.x86.sse2.pause", []
        elif triple.startswith(("aarch64", "arm64")):
            name, given = "llvm.aarch64.hint", [ir.IntType(32)(1)]
        else:
            return context.get_dummy_value()
        kind = ir.FunctionType(ir.VoidType(), [one.type for one in given])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
        return context.get_dummy_value()

    return types.void(), code


_LET_OTHERS = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
let_others = types.ExternalFunction(_LET_OTHERS, types.int32())
"""Give the core to another thread that waits for one."""

_LINE = 64
"""Bytes of a cache line; each phase has one of its own."""


@within
def claim(counters: int, phase: int) -> int:
    """The number of a piece of work of this phase that nobody else does."""
    return fetch_add(counters + phase * _LINE, 1)


@within
def finish(counters: int, phase: int) -> None:
    fetch_add(counters + phase * _LINE + 8, 1)


@within
def relax(spins: int) -> int:
    """Wait for a moment; now and then others may have the core, for they may be waited for."""
    if spins % 2048 == 2047:
        let_others()
    else:
        pause()
    return spins + 1


@part
def wait(counters: int, phase: int, count: int) -> None:
    """Until `count` pieces of this phase are finished."""
    spins = 0
    while load(counters + phase * _LINE + 8) < count:
        spins = relax(spins)
