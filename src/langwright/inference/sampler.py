"""Drawing the next token. Order: temperature, top-k, top-p (transformers' order)."""

from __future__ import annotations

import torch
from torch import Tensor

from langwright.backend import Sampling


def filter_logits(logits_V: Tensor, sampling: Sampling) -> Tensor:
    """Logits after temperature (> 0), top-k and top-p; what is filtered out becomes -inf."""
    # Smaller temperatures would make every logit infinite, or divide 0 by 0.
    logits = logits_V.float() / max(sampling.temperature, 1e-30)
    if 0 < sampling.top_k < logits.numel():
        smallest = logits.topk(sampling.top_k).values[-1]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    if sampling.top_p < 1.0:
        ordered, order = logits.sort(descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        # A token stays while the mass before it is below top_p; the likeliest always stays.
        drop = before >= sampling.top_p
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(0, order, drop), float("-inf"))
    return logits


class Sampler:
    """One request's source of tokens, with its own random numbers."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def draw(self, logits_V: Tensor) -> int:
        if self.sampling.temperature == 0.0:
            return int(logits_V.argmax())
        probabilities = filter_logits(logits_V, self.sampling).softmax(-1)
        return int(torch.multinomial(probabilities, 1, generator=self._generator))
