"""Drawing the next token: bias, penalties, constraint, then the filters in the order asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from langwright.backend import Filter, Sampling

_OUT = float("-inf")
_BLOCK = 256

Floats = npt.NDArray[np.float32]


def filter_logits(logits_V: Tensor, sampling: Sampling) -> Tensor:
    """Logits after the filters in `sampling.order`; what is filtered out becomes -inf.

    Temperature must be above 0. Each filter equals transformers' warper of its name.
    """
    # Whole vocabularies are numpy's: torch would wake its other threads for them, which then go on
    # waiting for more on the cores that the next decode step needs.
    logits = logits_V.float().numpy()
    for name in sampling.order:
        logits = _filtered(logits, name, sampling)
    return torch.from_numpy(logits)


def _filtered(logits: Floats, name: Filter, sampling: Sampling) -> Floats:
    if name == "temperature":
        # Smaller temperatures would make every logit infinite, or divide 0 by 0.
        with np.errstate(over="ignore"):
            return logits / np.float32(max(sampling.temperature, 1e-30))
    if name == "top_k":
        if not 0 < sampling.top_k < len(logits):
            return logits
        smallest = torch.from_numpy(logits).topk(sampling.top_k).values[-1].numpy()
        return _masked(logits, logits < smallest)
    if name == "min_p":
        if sampling.min_p == 0.0:
            return logits
        weights = np.exp(logits - logits.max())
        return _masked(logits, weights < np.float32(sampling.min_p))
    return logits if sampling.top_p >= 1.0 else _top_p(logits, sampling.top_p)


def without(logits_V: Tensor, ids: Iterable[int]) -> Tensor:
    """Logits by which some tokens are not drawn."""
    logits = logits_V.float().numpy().copy()
    logits[sorted(ids)] = _OUT
    return torch.from_numpy(logits)


def _masked(logits: Floats, out: npt.NDArray[np.bool_]) -> Floats:
    return np.where(out, np.float32(_OUT), logits)


def _top_p(logits: Floats, top_p: float) -> Floats:
    """A token stays while the mass before it is below `top_p`; the likeliest always stays."""
    most = logits.max()
    total = most + np.log(np.exp(logits - most).sum())
    # A whole vocabulary takes long to sort, and the mass is nearly always at its top.
    for count in (256, 4096, len(logits)):
        values, indices = torch.from_numpy(logits).topk(min(count, len(logits)))
        probabilities = (values - float(total)).exp()
        through = probabilities.cumsum(-1)
        if count >= len(logits) or float(through[-1]) >= top_p:
            break
    kept = max(1, int((through - probabilities < top_p).sum()))
    found = np.full_like(logits, _OUT)
    found[indices[:kept].numpy()] = values[:kept].numpy()
    return found


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


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
        repeated = asked.repetition_penalty != 1.0
        counted = bool(self._counts) and bool(asked.frequency_penalty or asked.presence_penalty)
        if not (asked.logit_bias or repeated or counted):
            return logits_V
        logits = logits_V.float().numpy().copy()
        if asked.logit_bias:
            bias = np.array(list(asked.logit_bias.values()), np.float32)
            logits[list(asked.logit_bias)] += bias
        if repeated:
            ids = list(self._repeated | dict.fromkeys(self._counts))
            values, penalty = logits[ids], asked.repetition_penalty
            logits[ids] = np.where(values < 0, values * penalty, values / penalty)
        if counted:
            counts = np.array(list(self._counts.values()), np.float32)
            logits[list(self._counts)] -= counts * asked.frequency_penalty + asked.presence_penalty
        return torch.from_numpy(logits)

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
        weights_V = _softmax(filter_logits(logits_V, self.sampling).numpy())
        at = float(torch.rand(1, generator=self._generator, dtype=torch.float64))
        return _place(weights_V, at)


def _place(weights_V: Floats, share: float) -> int:
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
