"""The machines that a plan is for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from langwright.errors import NotFound, suggest
from langwright.model.flops import peak_flops

UTILISATION = 0.40
"""Of a GPU's peak, in training: an H100 gave 39% at 124 million parameters and 45 to 49% at 1.5
billion (docs/benchmarks.md)."""


@dataclass(frozen=True)
class Machine:
    """`count` devices; of each the peak in bfloat16 (FLOP/s, dense), its memory (bytes) and price
    (US dollars an hour). None: not known; of a processor all is measured instead."""

    device: str
    count: int = 1
    flops: float | None = None
    memory: float | None = None
    usd_per_hour: float | None = None

    @property
    def here(self) -> bool:
        """Whether the plan can try it out: this machine's processor, or its GPU."""
        return self.device in ("cpu", "cuda")

    def usd(self, seconds: float) -> float | None:
        """What that time costs."""
        if self.usd_per_hour is None:
            return None
        return seconds / 3600 * self.usd_per_hour * self.count


_GPUS = {
    "a100": ("A100-SXM4-80GB", 80e9, None),
    "b200": ("B200", 180e9, None),
    "h100": ("H100 80GB HBM3", 80e9, 3.0),
    "h200": ("H200", 141e9, None),
    "l4": ("L4", 24e9, None),
    "l40s": ("L40S", 48e9, None),
    "rtx4090": ("GeForce RTX 4090", 24e9, None),
}
"""CUDA's name, bytes by the data sheet, and dollars an hour: nanochat's README has eight H100s for
24."""


def machine(text: str, usd_per_hour: float | None = None) -> Machine:
    """`cpu` or `cuda` (of this machine), or a GPU and how many of them: `h100`, `h100x8`. Raises
    `NotFound`."""
    found = re.fullmatch(r"([a-z0-9]+?)(?:x([1-9][0-9]*))?", text.lower())
    name = found[1] if found else text
    if name in ("cpu", "cuda") and found and not found[2]:
        return Machine(name, usd_per_hour=usd_per_hour)
    if found is None or name not in _GPUS:
        raise NotFound(
            f"There is no device '{text}'.", remedy=suggest(name, ["cpu", "cuda", *_GPUS])
        )
    known, memory, price = _GPUS[name]
    price = price if usd_per_hour is None else usd_per_hour
    return Machine(name, int(found[2] or 1), peak_flops(known), memory, price)
