"""Compiled kernels for a CPU, with Numba: decoding, and prompts where weights are whole numbers.

`why_not` says whether they can run a model; torch runs every model.
"""

from langwright.inference.kernels.cover import why_not
from langwright.inference.kernels.decode import MAX_ROWS, DecodeStep
from langwright.inference.kernels.ready import prepare, ready

__all__ = ["MAX_ROWS", "DecodeStep", "prepare", "ready", "why_not"]
