"""Numba, or a stand-in where it is not installed: then the modules can be imported, not more."""

from __future__ import annotations

from typing import Any


class _Absent:
    def __getattr__(self, name: str) -> _Absent:
        return self

    def __call__(self, *args: Any, **options: Any) -> _Absent:
        return self


def _found() -> tuple[Any, ...]:
    try:
        import numba
        from llvmlite import ir
        from numba.core import cgutils
        from numba.extending import intrinsic
    except ImportError:
        return (_Absent(),) * 6
    return numba, ir, numba.njit, numba.types, cgutils, intrinsic


numba, ir, njit, types, cgutils, intrinsic = _found()
INSTALLED = not isinstance(numba, _Absent)

# Called by other kernels only: what Python would call them by need not be compiled. Python's error
# at a division by zero would be a branch in every loop, which then makes no vectors.
_INNER: dict[str, Any] = {
    "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy",
}  # fmt: skip
part = njit(**_INNER)
"""A function that only other compiled ones call."""
fused = njit(fastmath={"contract"}, **_INNER)
"""The same; x * y + z may be rounded once."""
within = njit(inline="always")
"""A few lines that are copied to where they are called."""
