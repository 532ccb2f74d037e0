"""What a step does with one row of activations: norms, activations, rounding, rotation.

Each loop is simple enough for LLVM to turn it into vectors. Addresses are whole numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from langwright.inference.kernels.jit import fused, part
from langwright.inference.kernels.llvm import GROUP
from langwright.inference.kernels.machine import bits, floats, from_bits, halves, shorts
from langwright.inference.kernels.vectors import largest_of, most_of, squares_of, sum_of

f32 = np.float32
_ONE, _TWO, _HALF = f32(1.0), f32(2.0), f32(0.5)
_MAGIC = f32(12582912.0)
"""1.5 * 2^23: added to a float32 it leaves the nearest whole number in the low bits."""
_MAGIC_BITS = int(_MAGIC.view(np.int32))

_LEAST, _MOST = f32(-87.0), f32(88.0)
_LOG2E, _LN2_HIGH, _LN2_LOW = f32(1.44269504), f32(0.693359375), f32(-2.12194440e-4)
_P0, _P1, _P2 = f32(1.9875691500e-4), f32(1.3981999507e-3), f32(8.3334519073e-3)
_P3, _P4, _P5 = f32(4.1665795894e-2), f32(1.6666665459e-1), f32(5.0000001201e-1)
_GELU, _CUBE = f32(0.7978845608028654), f32(0.044715)

SILU, GELU_TANH, RELU2 = 0, 1, 2
_FULL = 2**15 - 1


@fused
def exponential(x: Any) -> Any:
    """e^x by Cephes' polynomial (Moshier), within a few units of the last place."""
    x = min(max(x, _LEAST), _MOST)
    shifted = x * _LOG2E + _MAGIC
    n = shifted - _MAGIC
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
    power = from_bits((bits(shifted) - _MAGIC_BITS + 127) << 23)
    return (p * r * r + r + _ONE) * power


@fused
def activate(kind: int, x: int, count: int) -> None:
    """In place; `kind` is one of SILU, GELU_TANH and RELU2."""
    v = floats(x)
    if kind == SILU:
        for i in range(count):
            v[i] = v[i] / (_ONE + exponential(-v[i]))
    elif kind == GELU_TANH:
        for i in range(count):
            inner = _GELU * (v[i] + _CUBE * v[i] * v[i] * v[i])
            v[i] = v[i] * (_ONE - _ONE / (exponential(_TWO * inner) + _ONE))
    else:
        for i in range(count):
            most = max(v[i], f32(0.0))
            v[i] = most * most


@fused
def rms_normed(eps: float, x: int, weight: int, out: int, count: int) -> None:
    """x / rms(x) * weight."""
    v, w, y = floats(x), floats(weight), floats(out)
    scale = f32(1.0 / np.sqrt(squares_of(x, count) / count + eps))
    for i in range(count):
        y[i] = v[i] * scale * w[i]


@fused
def normed(layer_norm: bool, eps: float, x: int, weight: int, out: int, count: int) -> None:
    """RMSNorm, or LayerNorm with its bias behind the weight."""
    if not layer_norm:
        rms_normed(eps, x, weight, out, count)
        return
    v, w, b, y = floats(x), floats(weight), floats(weight + 4 * count), floats(out)
    mean = sum_of(x, count) / f32(count)
    for i in range(count):
        y[i] = v[i] - mean
    scale = f32(1.0 / np.sqrt(squares_of(out, count) / count + eps))
    for i in range(count):
        y[i] = y[i] * scale * w[i] + b[i]


@part
def rounded(x: int, out: int, count: int) -> None:
    """As the products with whole-number weights take it; see `tiles.py`. The numbers are as large
    as the sum of `count` products with 8 bits fits 32."""
    v, q = floats(x), shorts(out)
    limit = f32(min(_FULL, 2**27 // count))
    largest = max(largest_of(x, count), f32(1e-30))
    inverse = limit / largest
    floats(out + 2 * count)[0] = largest / limit
    sums = floats(out + 2 * count + 4)
    for group in range(count // GROUP):
        total = 0
        for i in range(group * GROUP, (group + 1) * GROUP):
            one = bits(v[i] * inverse + _MAGIC) - _MAGIC_BITS
            q[i] = one
            total += one
        sums[group] = f32(total)


@fused
def rotated(x: int, turn: int, head_dim: int) -> None:
    """Turn each pair (x_i, x_{i + D/2}), in place; `turn` has the cosines, then the sines."""
    half = head_dim // 2
    a, b = floats(x), floats(x + 4 * half)
    cos, sin = floats(turn), floats(turn + 4 * half)
    for i in range(half):
        first, second = a[i], b[i]
        a[i] = first * cos[i] - second * sin[i]
        b[i] = second * cos[i] + first * sin[i]


@part
def narrowed(x: int, out: int, count: int) -> None:
    """To bfloat16, the nearest, of two as near the even one."""
    v, y = floats(x), halves(out)
    for i in range(count):
        b = bits(v[i])
        y[i] = (b + 0x7FFF + ((b >> 16) & 1)) >> 16


@part
def widened(x: int, out: int, count: int) -> None:
    """From bfloat16."""
    v, y = halves(x), floats(out)
    for i in range(count):
        y[i] = from_bits(np.int32(v[i]) << 16)


@part
def copied(x: int, out: int, count: int) -> None:
    v, y = floats(x), floats(out)
    for i in range(count):
        y[i] = v[i]


@part
def added(x: int, more: int, count: int) -> None:
    """x += more."""
    v, m = floats(x), floats(more)
    for i in range(count):
        v[i] += m[i]


@part
def multiplied(x: int, other: int, count: int) -> None:
    """x *= other."""
    v, m = floats(x), floats(other)
    for i in range(count):
        v[i] *= m[i]


@fused
def softmax(x: int, count: int) -> float:
    """e^(x - max) in place, and its sum; behind the last there is room up to a multiple of 8."""
    v = floats(x)
    whole = (count + 7) // 8 * 8
    for i in range(count, whole):
        v[i] = f32(-np.inf)
    most = most_of(x, whole)
    for i in range(whole):
        v[i] = exponential(v[i] - most)
    for i in range(count, whole):
        v[i] = f32(0.0)
    return sum_of(x, whole)


@fused
def scaled(x: int, factor: float, count: int) -> None:
    v, by = floats(x), f32(factor)
    for i in range(count):
        v[i] *= by


@part
def capped(x: int, cap: float, count: int) -> None:
    """cap * tanh(x / cap), in place."""
    v = floats(x)
    by, twice = f32(cap), f32(2.0 / cap)
    for i in range(count):
        v[i] = by * (_ONE - _TWO / (exponential(v[i] * twice) + _ONE))
