"""Where derivatives written out by hand are taken instead of autograd's.

Autograd keeps every step between and goes back over each of them; on a processor these passes over
memory cost a good part of the time (docs/benchmarks.md). A compiler fuses them itself, so what is
compiled, as on GPUs, stays as it is; so do tensors in shards, whose operators are not these, and
what is computed under somebody's autocast, which does not reach into a backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor


def by_hand(x: Tensor) -> bool:
    """Whether to take them for `x`: on a processor, in training, not compiled, in one piece."""
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not hasattr(x, "device_mesh")
        and not torch.is_autocast_enabled("cpu")
    )
