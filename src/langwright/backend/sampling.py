"""How the next token is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from langwright.errors import BadInput

Filter = Literal["temperature", "top_k", "top_p", "min_p"]

ORDER: tuple[Filter, ...] = ("temperature", "top_k", "top_p", "min_p")
"""transformers' order, and the default."""

_BIAS = 1e4
_BOUNDS = (
    ("temperature", 0, 100),
    ("min_p", 0, 1),
    ("repetition_penalty", 0.01, 100),
    ("frequency_penalty", -100, 100),
    ("presence_penalty", -100, 100),
)


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    First `logit_bias` is added (by token id); then come the penalties: `repetition_penalty` (Keskar
    et al. 2019; over the prompt and the answer, 1 is off), `frequency_penalty` times how often a
    token was sampled, and `presence_penalty` once for each that was (OpenAI's formula, over the
    answer alone, 0 is off); then what a constraint rules out; then the filters in the order of
    `order`: `temperature`, `top_k` (0 is off), `top_p` (1 is off), `min_p` (drops what has less
    than this share of the likeliest; 0 is off). `temperature` 0 takes the likeliest token. The
    same `seed` gives the same answer; without one each answer differs.
    """

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    order: tuple[Filter, ...] = ORDER

    def __post_init__(self) -> None:
        wrong = None
        for name, least, most in _BOUNDS:
            value = getattr(self, name)
            if not least <= value <= most:
                wrong = f"{name} is {value}; it must lie between {least:g} and {most:g}"
        if self.top_k < 0:
            wrong = f"top_k is {self.top_k}; it must be 0 (off) or more"
        elif not 0.0 < self.top_p <= 1.0:
            wrong = f"top_p is {self.top_p}; it must be above 0 and at most 1"
        elif self.seed is not None and not -(2**63) <= self.seed < 2**63:
            wrong = f"seed is {self.seed}; it must be a number of 64 bits"
        elif not all(-_BIAS <= bias <= _BIAS for bias in self.logit_bias.values()):
            wrong = f"a logit_bias does not lie between {-_BIAS:g} and {_BIAS:g}"
        elif sorted(self.order) != sorted(ORDER):
            wrong = f"order is {', '.join(self.order)}; it must name each of {', '.join(ORDER)}"
        if wrong:
            raise BadInput(wrong[0].upper() + wrong[1:] + ".", remedy="Correct the value.")
