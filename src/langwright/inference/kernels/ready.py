"""Compiling the kernels before they are asked for."""

from __future__ import annotations

import sys
from typing import Any

import torch

from langwright.inference.kernels import kinds
from langwright.inference.kernels.decode import kinds_of, shape_of
from langwright.model import Decoder


def ready(module: Decoder, cache: torch.dtype | None = None) -> bool:
    """Whether a step for this module, and a cache of this type (default: the module's), is compiled
    and loaded, so that it would start at once."""
    compiled = sys.modules.get("langwright.inference.kernels.compiled")  # loading it takes a second
    return compiled is not None and _signature(module, cache) in compiled.run_step.overloads


def prepare(module: Decoder, cache: torch.dtype | None = None) -> None:
    """Compile the step, or load it from the disk where an earlier process has left it.

    Other threads go on meanwhile, but slower: half of the work holds the interpreter's lock.
    """
    from langwright.inference.kernels.compiled import run_step

    if not ready(module, cache):
        run_step.compile(_signature(module, cache))


def _signature(module: Decoder, cache: torch.dtype | None) -> tuple[Any, ...]:
    from langwright.inference.kernels.compiled import signature

    nowhere = kinds.Work(*[0] * len(kinds.Work._fields))
    chosen = kinds_of(module, cache or module.dtype)
    return signature((*chosen, shape_of(module), nowhere))
