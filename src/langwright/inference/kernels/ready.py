"""Compiling the kernels before they are asked for."""

from __future__ import annotations

from langwright.inference.kernels.cover import address, kind_of, matrices
from langwright.inference.kernels.decode import shape_of
from langwright.inference.kernels.kinds import Kind, Work
from langwright.model import Decoder

_READY: set[Kind] = set()
"""Those whose products, and the step itself, are compiled and loaded."""


def ready(module: Decoder) -> bool:
    """Whether all that a step of this module needs is compiled and loaded, so that it would start
    at once."""
    return _kinds(module) <= _READY


def prepare(module: Decoder) -> None:
    """Compile what a step of this module needs, or load it from the disk where an earlier process
    has left it. Other threads go on meanwhile, but slower: much of it holds the interpreter."""
    from langwright.inference.kernels.compiled import compile_step

    nowhere = Work._make([0] * len(Work._fields))._replace(brief=False, wide=False)
    compile_step(shape_of(module), nowhere)
    for kind in _kinds(module):
        address(kind)
        if kind.whole:
            address(kind, wide=True)
        _READY.add(kind)


def _kinds(module: Decoder) -> set[Kind]:
    found = {kind_of(one) for one in matrices(module)}
    return {kind for kind in found if kind is not None}
