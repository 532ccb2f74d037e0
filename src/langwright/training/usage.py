"""What a step uses of the machine: memory, and its share of what the GPU could do."""

from __future__ import annotations

import torch
from torch import nn

from langwright.model import Architecture
from langwright.model.flops import peak_flops
from langwright.providers.contender import peak_memory as process_peak


class Usage:
    """Of this process's device; `ranks` such devices train together.

    `mfu` (model FLOPs utilisation; PaLM, appendix B): the FLOPs that the model needs for the tokens
    read (`Architecture.flops_per_token` at `context`) over those that the devices could do in
    bfloat16 (`peak_flops`) in the seconds of the step. What is computed twice to save memory, or
    for padding, does not count, nor does the optimizer.
    """

    def __init__(self, module: nn.Module, context: int, device: torch.device, ranks: int) -> None:
        shape = getattr(module, "shape", None)
        self._device = device
        self._flops = shape.flops_per_token(context) if isinstance(shape, Architecture) else None
        cuda = device.type == "cuda"
        peak = peak_flops(torch.cuda.get_device_name(device)) if cuda else None
        self._peak = None if peak is None else peak * ranks

    def of_step(self, tokens: int, seconds: float) -> dict[str, float]:
        """`memory_bytes`, the most so far: of the GPU what tensors took, else of the process what
        lay in memory. `mfu` of a step of a decoder that read so many tokens, where the device's
        peak is known."""
        found: dict[str, float] = {}
        memory = peak_memory(self._device)
        if memory is not None:
            found["memory_bytes"] = memory
        if self._flops is not None and self._peak is not None:
            found["mfu"] = round(self._flops * tokens / seconds / self._peak, 4)
        return found


def peak_memory(device: torch.device) -> int | None:
    """Bytes; None on a CPU whose system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return process_peak()
