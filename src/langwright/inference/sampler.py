"""Drawing the next token: bias, penalties, constraint, then the filters in the order asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from langwright.backend import Filter, Sampling

_OUT = float("-inf")
_BLOCK = 256


def filter_logits(logits_V: Tensor, sampling: Sampling) -> Tensor:
    """Logits after the filters in `sampling.order`; what is filtered out becomes -inf.

    Temperature must be above 0. Each filter equals transformers' warper of its name.
    """
    logits = logits_V.float()
    for name in sampling.order:
        logits = _filtered(logits, name, sampling)
    return logits


def _filtered(logits: Tensor, name: Filter, sampling: Sampling) -> Tensor:
    if name == "temperature":
        # Smaller temperatures would make every logit infinite, or divide 0 by 0.
        return logits / max(sampling.temperature, 1e-30)
    if name == "top_k":
        if not 0 < sampling.top_k < logits.numel():
            return logits
        smallest = logits.topk(sampling.top_k).values[-1]
        return logits.masked_fill(logits < smallest, _OUT)
    if name == "min_p":
        if sampling.min_p == 0.0:
            return logits
        probabilities = logits.softmax(-1)
        return logits.masked_fill(probabilities < sampling.min_p * probabilities.max(), _OUT)
    return logits if sampling.top_p >= 1.0 else _top_p(logits, sampling.top_p)


def _top_p(logits: Tensor, top_p: float) -> Tensor:
    """A token stays while the mass before it is below `top_p`; the likeliest always stays."""
    total = logits.logsumexp(-1)
    # A whole vocabulary takes long to sort, and the mass is nearly always at its top.
    for count in (256, 4096, logits.numel()):
        values, indices = logits.topk(min(count, logits.numel()))
        probabilities = (values - total).exp()
        through = probabilities.cumsum(-1)
        if count >= logits.numel() or float(through[-1]) >= top_p:
            break
    kept = max(1, int((through - probabilities < top_p).sum()))
    return torch.full_like(logits, _OUT).scatter(0, indices[:kept], values[:kept])


class Sampler:
    """One answer's source of tokens, with its own random numbers and its count of the tokens that
    it has drawn. `number` tells the answers of one request apart."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int] = (), number: int = 0) -> None:
        self.sampling = sampling
        self.greedy = sampling.temperature == 0.0
        self.plain = (
            self.greedy
            and not sampling.logit_bias
            and sampling.repetition_penalty == 1.0
            and sampling.frequency_penalty == sampling.presence_penalty == 0.0
        )
        self._counts: Counter[int] = Counter()
        self._repeated = dict.fromkeys(prompt) if sampling.repetition_penalty != 1.0 else {}
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            # One behind the other, round the corner of 64 bits.
            self._generator.manual_seed((sampling.seed + number + 2**63) % 2**64 - 2**63)

    def drew(self, token: int) -> None:
        """Count a token that was drawn."""
        if not self.plain:
            self._counts[token] += 1

    def adjusted(self, logits_V: Tensor) -> Tensor:
        """Logits with bias and penalties; the same tensor where there are none."""
        asked = self.sampling
        if asked.logit_bias:
            ids = torch.tensor(list(asked.logit_bias))
            bias = torch.tensor(list(asked.logit_bias.values()), dtype=logits_V.dtype)
            logits_V = logits_V.index_add(0, ids, bias)
        if asked.repetition_penalty != 1.0:
            ids = torch.tensor(list(self._repeated | dict.fromkeys(self._counts)))
            values = logits_V[ids]
            penalised = torch.where(
                values < 0, values * asked.repetition_penalty, values / asked.repetition_penalty
            )
            logits_V = logits_V.index_copy(0, ids, penalised)
        if self._counts and (asked.frequency_penalty or asked.presence_penalty):
            ids = torch.tensor(list(self._counts))
            counts = torch.tensor(list(self._counts.values()), dtype=logits_V.dtype)
            penalty = counts * asked.frequency_penalty + asked.presence_penalty
            logits_V = logits_V.index_add(0, ids, -penalty)
        return logits_V

    def distribution(self, logits_V: Tensor) -> Tensor:
        """The log-probabilities that a token is drawn by, of logits that are `adjusted`, [V]."""
        if self.greedy:
            certain = torch.full_like(logits_V, _OUT, dtype=torch.float32)
            certain[int(logits_V.argmax())] = 0.0
            return certain
        return filter_logits(logits_V, self.sampling).log_softmax(-1)

    def draw(self, logits_V: Tensor) -> int:
        """A token by logits that are `adjusted`."""
        if self.greedy:
            return int(logits_V.numpy().argmax())  # a hundred times as fast as torch's
        weights_V = filter_logits(logits_V, self.sampling).softmax(-1).numpy()
        at = float(torch.rand(1, generator=self._generator, dtype=torch.float64))
        return _place(weights_V, at)


def _place(weights_V: npt.NDArray[np.float32], share: float) -> int:
    """Where the running sum of the weights passes `share` (below 1) of the whole: one random number
    and two short searches cost less than a random number for every token."""
    blocks = np.add.reduceat(weights_V, np.arange(0, len(weights_V), _BLOCK), dtype=np.float64)
    ends = blocks.cumsum()
    at = share * ends[-1]
    block = min(int(ends.searchsorted(at, side="right")), len(ends) - 1)
    within = weights_V[block * _BLOCK : (block + 1) * _BLOCK].cumsum(dtype=np.float64)
    at -= ends[block - 1] if block else 0.0
    # Not behind the last that has a weight, should a sum be rounded.
    last = int(within.searchsorted(within[-1]))
    return block * _BLOCK + min(int(within.searchsorted(at, side="right")), last)
