"""Log-probabilities of chosen tokens, without the logits of all rows standing in memory.

Losses that weigh each token by what comes of others (preferences, policies) need them one by one,
where the sum of `cross_entropy` is of no use.

Legend: N rows, E hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from langwright.model.cross_entropy import rows_at_once
from langwright.model.linear import product


def token_logprobs(
    hidden_NE: Tensor,
    weight_VE: Tensor,
    tokens_N: Tensor,
    softcap: float | None = None,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """log softmax(cap(hidden weight^T) / temperature)[token] of each row, [N], and the entropy of
    the whole distribution in nats, [N], which has no gradient; both float32."""
    chosen, entropy = _Chosen.apply(hidden_NE, weight_VE, tokens_N, softcap, temperature)
    return chosen, entropy


class _Chosen(torch.autograd.Function):
    """What a row's hidden state gets back is its own slope times what comes for the row: the slope
    is made on the way forward, while the logits are there. The weight's is a sum over rows of what
    is not known before the way back, where its logits are computed once more."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NE: Tensor,
        weight_VE: Tensor,
        tokens_N: Tensor,
        softcap: float | None,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        chosen_N = hidden_NE.new_empty(len(hidden_NE), dtype=torch.float32)
        entropy_N = torch.empty_like(chosen_N)
        slope_NE = torch.empty_like(hidden_NE) if wants_hidden else None
        step = rows_at_once(hidden_NE, weight_VE)
        for start in range(0, len(hidden_NE), step):
            part = slice(start, start + step)
            logits_RV, bent_RV = _logits(hidden_NE[part], weight_VE, softcap, temperature)
            norms_R = logits_RV.logsumexp(1)
            tokens_R1 = tokens_N[part, None]
            chosen_N[part] = logits_RV.gather(1, tokens_R1)[:, 0] - norms_R
            weights_RV = (logits_RV - norms_R[:, None]).exp_()
            entropy_N[part] = norms_R - torch.linalg.vecdot(weights_RV, logits_RV)
            if slope_NE is not None:
                slope_RV = _slope(weights_RV, tokens_R1, bent_RV, temperature)
                slope_NE[part] = product(slope_RV.to(hidden_NE.dtype), weight_VE.t())
        ctx.mark_non_differentiable(entropy_N)
        kept = (hidden_NE, weight_VE, tokens_N) if wants_weight else (None, None, None)
        ctx.save_for_backward(slope_NE, *kept)
        ctx.softcap, ctx.temperature = softcap, temperature
        return chosen_N, entropy_N

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, given_N: Tensor, _: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        slope_NE, hidden_NE, weight_VE, tokens_N = ctx.saved_tensors
        for_hidden = None if slope_NE is None else slope_NE * given_N[:, None].to(slope_NE.dtype)
        if weight_VE is None:
            return for_hidden, None, None, None, None
        slope_VE = torch.zeros_like(weight_VE, dtype=torch.float32)
        step = rows_at_once(hidden_NE, weight_VE)
        for start in range(0, len(hidden_NE), step):
            part = slice(start, start + step)
            logits_RV, bent_RV = _logits(hidden_NE[part], weight_VE, ctx.softcap, ctx.temperature)
            weights_RV = logits_RV.softmax(1)
            slope_RV = _slope(weights_RV, tokens_N[part, None], bent_RV, ctx.temperature)
            slope_RV.mul_(given_N[part, None])
            slope_VE.addmm_(slope_RV.t(), hidden_NE[part].float())
        return for_hidden, slope_VE.to(weight_VE.dtype), None, None, None


def _logits(
    hidden_RE: Tensor, weight_VE: Tensor, softcap: float | None, temperature: float
) -> tuple[Tensor, Tensor | None]:
    """Logits in float32, and the tangent of their cap."""
    logits_RV = product(hidden_RE, weight_VE).float()
    bent_RV = None
    if softcap is not None:
        bent_RV = torch.tanh(logits_RV / softcap)
        logits_RV = bent_RV * softcap
    return logits_RV if temperature == 1.0 else logits_RV / temperature, bent_RV


def _slope(
    weights_RV: Tensor, tokens_R1: Tensor, bent_RV: Tensor | None, temperature: float
) -> Tensor:
    """Of the chosen tokens' log-probabilities by what the head makes of the rows, in the memory of
    their `weights_RV` (the softmax)."""
    slope_RV = weights_RV.neg_()
    slope_RV.scatter_add_(1, tokens_R1, torch.ones_like(tokens_R1, dtype=slope_RV.dtype))
    if bent_RV is not None:
        slope_RV.mul_(1 - bent_RV.square())
    return slope_RV if temperature == 1.0 else slope_RV.div_(temperature)
