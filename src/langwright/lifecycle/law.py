"""How the loss falls with the size of a model and the text that it learns from."""

from __future__ import annotations

import math
from dataclasses import dataclass

REPEATED = 15.4
"""Epochs after which one more teaches next to nothing: R*_D of Muennighoff et al. 2023, table 2."""


@dataclass(frozen=True)
class Law:
    """bits per byte = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, equation 2).

    N are the values of the matrices that a token is multiplied with, the head included; D tokens.
    """

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def bits(self, matrices: float, tokens: float, unique: float = math.inf) -> float:
        """Expected bits per byte after `tokens`, of which `unique` are different ones."""
        seen = worth(tokens, unique)
        size, text = math.pow(matrices, -self.alpha), math.pow(seen, -self.beta)
        return self.E + self.A * size + self.B * text


def worth(tokens: float, unique: float = math.inf) -> float:
    """How many fresh tokens teach as much as `tokens` that repeat `unique` ones (Muennighoff et al.
    2023, equation 5)."""
    again = max(0.0, tokens / unique - 1)
    if not again:
        return tokens
    return unique * (1 + REPEATED * (1 - math.exp(-again / REPEATED)))


LAW = Law(E=0.61, A=40.0, alpha=0.30, B=800.0, beta=0.50)
"""Of the sizes and settings of `ladder` on English Wikipedia summaries (docs/benchmarks.md). `E` is
1.82 nats a token, the entropy of web text by Besiroglu et al. 2024, at 4.3 bytes a token: small
runs do not tell it."""

FITTED = (1e7, 1e7)
"""N and D up to which there were runs: further out it is a guess."""
