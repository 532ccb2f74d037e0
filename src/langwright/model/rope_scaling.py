"""How rotary positions are stretched beyond the context of pretraining."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from langwright.config import Settings


class RopeScaling(Settings):
    """`linear`: every frequency divided by `factor` (Chen et al. 2023). `llama3`: the long waves
    so, the short ones not, those between by a blend (Llama 3.1). `yarn`: by a ramp over the
    dimensions, and the attention scaled by `attention_factor` (Peng et al. 2023).

    `original_context` is the context of pretraining; the others bound the blend.
    """

    kind: Literal["linear", "llama3", "yarn"]
    factor: float = Field(ge=1, allow_inf_nan=False)
    original_context: int | None = Field(None, ge=1)
    low_freq_factor: float = Field(1.0, gt=0, allow_inf_nan=False)
    high_freq_factor: float = Field(4.0, gt=0, allow_inf_nan=False)
    beta_fast: float = Field(32.0, gt=0, allow_inf_nan=False)
    beta_slow: float = Field(1.0, gt=0, allow_inf_nan=False)
    attention_factor: float | None = Field(None, gt=0, allow_inf_nan=False)

    @property
    def magnitude(self) -> float:
        """What cos and sin are multiplied with."""
        if self.kind != "yarn":
            return 1.0
        if self.attention_factor is not None:
            return self.attention_factor
        return 0.1 * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0

    def scale(self, frequencies: Tensor, theta: float) -> Tensor:
        """The frequencies [D / 2] of rotary positions with base `theta`, stretched."""
        if self.kind == "linear":
            return frequencies / self.factor
        assert self.original_context is not None
        if self.kind == "llama3":
            turns = self.original_context * frequencies / (2 * math.pi)
            low, high = self.low_freq_factor, self.high_freq_factor
            kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)
            return (1 - kept) * frequencies / self.factor + kept * frequencies
        half = len(frequencies)

        def dimension(turns: float) -> float:
            """The one whose wave makes so many turns within the original context."""
            assert self.original_context is not None
            return half * math.log(self.original_context / (turns * 2 * math.pi)) / math.log(theta)

        first = max(math.floor(dimension(self.beta_fast)), 0)
        last = min(math.ceil(dimension(self.beta_slow)), 2 * half - 1)
        places = torch.arange(half, dtype=torch.float32)
        stretched = ((places - first) / max(last - first, 0.001)).clamp(0.0, 1.0)
        return frequencies / self.factor * stretched + frequencies * (1 - stretched)
