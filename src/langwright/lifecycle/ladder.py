"""The sizes that a plan chooses from, and the settings for so many tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from langwright.model import Architecture
from langwright.training.stages.pretrain import PretrainSettings, shape_of

T = TypeVar("T")

Table = dict[str, Any]

_VOCABULARY = ((8e6, 4096), (5e7, 8192), (2e8, 16384), (math.inf, 32768))
"""Up to so many parameters in the layers, so many tokens: a table larger than the layers takes
more than it gives."""
_CONTEXT = ((128, 128), (512, 256), (768, 512), (1024, 1024), (math.inf, 2048))
"""Up to that width, so many tokens at once."""


@dataclass(frozen=True)
class Rung:
    """A size. Heads are 32 wide below a width of 256 and 64 from there on; the feed-forward part is
    8/3 of the width."""

    num_layers: int
    hidden_size: int
    vocab_size: int | None = None
    context_length: int | None = None

    def settings(self) -> Table:
        """Its settings of `pretrain`."""
        width = self.hidden_size
        heads = width // (32 if width < 256 else 64)
        return {
            "hidden_size": width,
            "intermediate_size": -(-8 * width // 96) * 32,
            "num_layers": self.num_layers,
            "num_heads": heads,
            "num_kv_heads": heads,
            "vocab_size": self.vocab_size or _up_to(_VOCABULARY, 12 * self.num_layers * width**2),
            "context_length": self.context_length or _up_to(_CONTEXT, width),
        }

    @cached_property
    def shape(self) -> Architecture:
        """The model of it."""
        loop = {"corpus": "", "tokens_per_step": 2**20, "steps": 1, "micro_batch_tokens": 2**20}
        rates = {"learning_rate": 1.0, "embedding_learning_rate": 1.0}
        settings = PretrainSettings.build(self.settings() | loop | rates)
        return shape_of(settings, settings.vocab_size)


def ladder(vocab_size: int | None = None, context_length: int | None = None) -> list[Rung]:
    """All sizes, the smallest first: 0.1 million parameters in the layers to 2.5 billion."""
    sizes = (
        (2, 64),
        (3, 96),
        (4, 128),
        (5, 192),
        (6, 256),
        (8, 320),
        (8, 384),
        (10, 512),
        (12, 640),
        (12, 768),
        (16, 1024),
        (20, 1280),
        (24, 1536),
        (28, 2048),
        (32, 2560),
    )
    return [Rung(*size, vocab_size, context_length) for size in sizes]


def pace(shape: Architecture, tokens: float) -> Table:
    """Tokens of a step, number of steps and rates for a run over so many tokens.

    Batch and rate are DeepSeek LLM's powers of the compute C (2024, section 3.1): 0.2920 C^0.3271
    tokens and 0.3118 C^-0.125; of the batch half, rounded down to a power of two, since it was
    found for AdamW at 1e17 FLOP and more (docs/benchmarks.md).
    """
    context = shape.context_length
    compute = shape.flops_per_token(context) * tokens
    batch = max(context, 2 ** int(math.log2(0.1460 * compute**0.3271)))
    steps = max(1, round(tokens / batch))
    rate = float(f"{0.3118 * compute**-0.125:.2g}")
    return {
        "tokens_per_step": batch,
        "steps": steps,
        "learning_rate": rate,
        "embedding_learning_rate": rate,
        "optimizer": "muon",
        "warmup_steps": min(steps // 10, 250),
        "decay_fraction": 0.6,
        "eval_every": max(1, steps // 5),
        "checkpoint_every": max(1, steps // 5),
    }


def preset_for(parameters: float) -> str:
    """The built-in recipe of the nearest size, for the stages that a plan does not plan."""
    return _up_to(((2e6, "tiny"), (8e6, "small"), (5e7, "medium"), (math.inf, "gpu")), parameters)


def _up_to(limits: tuple[tuple[float, T], ...], size: float) -> T:
    return next(value for limit, value in limits if size <= limit)
