"""What a decoder foresees, token by token, layer by layer, and without one of its parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from langwright.backend import NextToken
from langwright.errors import Damaged
from langwright.inference.glassbox import Part, Trace, last_logits
from langwright.model import ModelBundle
from langwright.tokens import Tokenizer

_ROWS = 256
"""Positions whose logits, of a large vocabulary, stand in memory together."""


@dataclass(frozen=True)
class SeenToken:
    """A token of the text, and how it was foreseen by those before it: its surprisal (-log p), the
    entropy of the distribution it stands in, its rank there (1: the likeliest), and the likeliest
    tokens that it is not. None of this is known of a first token, nor of an encoder's."""

    position: int
    id: int
    text: str
    bytes: list[int]
    surprisal_nats: float | None = None
    surprisal_bits: float | None = None
    entropy_nats: float | None = None
    entropy_bits: float | None = None
    rank: int | None = None
    alternatives: list[NextToken] | None = None


@dataclass(frozen=True)
class Followed:
    """One token, and what the model gives it behind the text."""

    id: int
    text: str
    bytes: list[int]
    probability: float
    logprob: float
    rank: int


@dataclass(frozen=True)
class Lens:
    """What the final norm and the head make of the last token's residual stream behind `depth`
    layers (0: the embeddings): the followed token, and the likeliest (nostalgebraist 2020)."""

    depth: int
    probability: float
    logprob: float
    rank: int
    tokens: list[NextToken]


@dataclass(frozen=True)
class Effect:
    """The followed token without one part: `change` is what that does to its probability,
    `likeliest` the token that then comes first."""

    layer: int
    head: int | None
    probability: float
    logprob: float
    change: float
    likeliest: NextToken


def foreseen(bundle: ModelBundle, trace: Trace, k: int) -> list[SeenToken]:
    """Each token of the text, with `k` alternatives."""
    tokens = [SeenToken(0, *named(bundle.tokenizer, trace.ids[0]))]
    for states_TE in trace.states[:-1].split(_ROWS):
        for logprobs_V in logprobs(bundle, states_TE):
            place = len(tokens)
            token = trace.ids[place]
            nats = -float(logprobs_V[token])
            entropy = -float((logprobs_V.exp() * logprobs_V).sum())
            others = [one for one in likeliest(bundle, logprobs_V, k + 1) if one.id != token]
            seen = SeenToken(
                place,
                *named(bundle.tokenizer, token),
                surprisal_nats=nats,
                surprisal_bits=nats / math.log(2),
                entropy_nats=entropy,
                entropy_bits=entropy / math.log(2),
                rank=_rank(logprobs_V, token),
                alternatives=others[:k],
            )
            tokens.append(seen)
    return tokens


def followed(bundle: ModelBundle, logprobs_V: Tensor, token: int) -> Followed:
    return Followed(*named(bundle.tokenizer, token), *_standing(logprobs_V, token))


def logit_lens(bundle: ModelBundle, trace: Trace, token: int, k: int) -> list[Lens]:
    """The lens at every depth, the embeddings' included; the last is the model's own answer."""
    shown = []
    for depth, hidden_TE in enumerate(trace.hidden):
        logprobs_V = logprobs(bundle, bundle.module.norm(hidden_TE[-1:]))[0]
        best = likeliest(bundle, logprobs_V, k)
        shown.append(Lens(depth, *_standing(logprobs_V, token), best))
    return shown


def effects(
    bundle: ModelBundle, ids: Sequence[int], parts: Sequence[Part], off: Sequence[Part], token: int
) -> list[Effect]:
    """What switching off each of `parts` alone, beside those that are `off`, does to the
    probability of `token` behind the text; the largest change first."""
    rows = [list(off), *([*off, part] for part in parts)]
    found = []
    for logits_V in last_logits(bundle.module, ids, rows):
        logprobs_V = logits_V[: bundle.tokenizer.vocab_size].log_softmax(-1)
        found.append((float(logprobs_V[token]), likeliest(bundle, logprobs_V, 1)[0]))
    whole = math.exp(found[0][0])
    shown = [
        Effect(*part, math.exp(logprob), logprob, math.exp(logprob) - whole, best)
        for part, (logprob, best) in zip(parts, found[1:], strict=True)
    ]
    return sorted(shown, key=lambda one: -abs(one.change))


def logprobs(bundle: ModelBundle, states_TE: Tensor) -> Tensor:
    """log p of the tokens, [T, V]; rows of the table that are no token are left out."""
    logits = bundle.module.head(states_TE).float()[:, : bundle.tokenizer.vocab_size]
    if not logits.isfinite().all():
        raise Damaged(
            "The model gives probabilities that are no numbers: its weights are damaged, or its "
            "training diverged.",
            remedy="Use an earlier checkpoint, or train with a lower learning_rate.",
        )
    return logits.log_softmax(-1)


def likeliest(bundle: ModelBundle, logprobs_V: Tensor, k: int) -> list[NextToken]:
    top = logprobs_V.topk(min(k, len(logprobs_V)))
    return [
        NextToken(index, bundle.tokenizer.decode([index]), math.exp(value), value)
        for index, value in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def named(tokenizer: Tokenizer, token: int) -> tuple[int, str, list[int]]:
    """Id, text with invalid UTF-8 as U+FFFD, exact bytes."""
    piece = tokenizer.token_bytes(token)
    return token, piece.decode(errors="replace"), list(piece)


def _rank(logprobs_V: Tensor, token: int) -> int:
    return int((logprobs_V > logprobs_V[token]).sum()) + 1


def _standing(logprobs_V: Tensor, token: int) -> tuple[float, float, int]:
    """Probability, its logarithm, and rank."""
    logprob = float(logprobs_V[token])
    return math.exp(logprob), logprob, _rank(logprobs_V, token)
