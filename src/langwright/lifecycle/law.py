"""How the loss falls with the size of a model and the text that it learns from."""

from __future__ import annotations

import math
from dataclasses import dataclass

REPEATED = 15.4
"""Epochs after which one more teaches next to nothing: R*_D of Muennighoff et al. 2023, table 2."""


@dataclass(frozen=True)
class Law:
    """bits per byte = E + [(Nc / N)^(alpha_N / alpha_D) + Dc / (D + D0)]^alpha_D: equation 1.5 of
    Kaplan et al. 2020 over a floor, with D0 for the beginning, in which the loss falls more slowly
    than by any power of D. A small model gains less from more text than a large one, which a sum of
    two powers does not know.

    N are the values of the matrices that a token is multiplied with, the head included; D tokens.
    """

    E: float
    Nc: float
    alpha_N: float
    Dc: float
    alpha_D: float
    D0: float = 0.0

    def bits(self, matrices: float, tokens: float, unique: float = math.inf) -> float:
        """Expected bits per byte after `tokens`, of which `unique` are different ones."""
        size = math.pow(self.Nc / matrices, self.alpha_N / self.alpha_D)
        text = self.Dc / (worth(tokens, unique) + self.D0)
        return self.E + math.pow(size + text, self.alpha_D)


def worth(tokens: float, unique: float = math.inf) -> float:
    """How many fresh tokens teach as much as `tokens` that repeat `unique` ones (Muennighoff et al.
    2023, equation 5)."""
    again = max(0.0, tokens / unique - 1)
    if not again:
        return tokens
    return unique * (1 + REPEATED * (1 - math.exp(-again / REPEATED)))


LAW = Law(E=0.6097, Nc=303_700, alpha_N=0.3510, Dc=1.977e6, alpha_D=0.2551, D0=105_000)
"""Of the sizes and settings of `ladder` on four English texts (docs/benchmarks.md); the level is
that of Wikipedia summaries. `E`, 1.82 nats a token of 4.3 bytes, is that of web text by Besiroglu
et al. 2024: small runs do not tell it."""

FITTED = (6e6, 1e6)
"""N and D up to which there were runs: further out it is a guess."""

NGRAM_FALL = 0.3146
"""Bits per byte by which a byte n-gram is better with a megabyte of Wikipedia summaries than with a
quarter of it."""
