"""How the loss falls with the size of a model and the text that it learns from."""

from __future__ import annotations

import math
from dataclasses import dataclass

REPEATED = 15.4
"""Epochs after which one more teaches next to nothing: R*_D of Muennighoff et al. 2023, table 2."""


@dataclass(frozen=True)
class Law:
    """bits per byte = E + A / N^alpha + B / (D + D0)^beta: equation 2 of Hoffmann et al. 2022, with
    D0 for the beginning, in which the loss falls more slowly than by any power of D.

    N are the values of the matrices that a token is multiplied with, the head included; D tokens.
    """

    E: float
    A: float
    alpha: float
    B: float
    beta: float
    D0: float = 0.0

    def bits(self, matrices: float, tokens: float, unique: float = math.inf) -> float:
        """Expected bits per byte after `tokens`, of which `unique` are different ones."""
        seen = worth(tokens, unique)
        size, text = math.pow(matrices, -self.alpha), math.pow(seen + self.D0, -self.beta)
        return self.E + self.A * size + self.B * text


def worth(tokens: float, unique: float = math.inf) -> float:
    """How many fresh tokens teach as much as `tokens` that repeat `unique` ones (Muennighoff et al.
    2023, equation 5)."""
    again = max(0.0, tokens / unique - 1)
    if not again:
        return tokens
    return unique * (1 + REPEATED * (1 - math.exp(-again / REPEATED)))


LAW = Law(E=0.6097, A=12.2, alpha=0.3478, B=50.2, beta=0.2741, D0=139_600)
"""Of the sizes and settings of `ladder` on English Wikipedia summaries (docs/benchmarks.md).

`E`, 1.82 nats a token of 4.3 bytes, and `alpha` are those of web text by Besiroglu et al. 2024:
small runs do not tell them."""

FITTED = (6e6, 1e6)
"""N and D up to which there were runs: further out it is a guess."""
