"""Compiled kernels for decoding on a CPU, one token after the other, with Numba.

`why_not` says whether they can run a model; torch runs every model, and reads prompts.
"""

from langwright.inference.kernels.cover import why_not
from langwright.inference.kernels.decode import MAX_ROWS, DecodeStep
from langwright.inference.kernels.ready import prepare, ready

__all__ = ["MAX_ROWS", "DecodeStep", "prepare", "ready", "why_not"]
