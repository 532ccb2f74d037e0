"""How far an export may be from the model before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from langwright.model import Decoder

EXACT, HALF = 1e-4, 0.05
"""Bounds on the difference of log-probabilities in nats: computed in float32, and in llama.cpp's
float16. (Its bfloat16 goes as far as 0.2 on a good export of SmolLM2, so that divergence is what
bounds it.)"""
GELU = 1e-2
"""The same in float32 where llama.cpp takes its GELU from a table in half precision."""
PAGE = 1e-3
"""The same in a page, which adds in another order, four sums at a time: a good one of SmolLM2,
whose 30 layers carry large values, has 6e-5."""
WITNESS_KL = {"bf": 0.005, "q8": 0.05, "q5": 0.05, "q4": 0.05}
"""Bounds on the mean KL divergence from the same, rounded weights, where llama.cpp computes with
fewer than 16 exact bits: a good export of SmolLM2 has 0.0002 in bf16 and 0.007 in q4_0."""
LOSS_KL = {"bf": 0.02, "q8": 0.1, "q5": 0.7, "q4": 1.5}
"""Bounds on the mean KL divergence from the model before it was rounded; of the same: 0.0004, 0.008
(q8_0), 0.20 (q5_1), 0.46 (q4_0)."""
TOP1 = 0.85
"""Least share of places where the likeliest token is the rounded model's."""
LIKELY = 1e-4
"""Log-probabilities are compared where a token has at least this probability."""


@dataclass(frozen=True)
class Bound:
    """`tolerance` is of log-probabilities; with a `loss`, that of `mean_kl`, of `witness_kl`."""

    tolerance: float
    loss: float | None = None

    def holds(self, figures: dict[str, float]) -> bool:
        if self.loss is None:
            return figures["max_abs_logprob_diff"] <= self.tolerance
        near = figures["witness_kl"] <= self.tolerance and figures["top1_agreement"] >= TOP1
        return near and figures["mean_kl"] <= self.loss


def bound_of(kind: str, module: Decoder, dtype: str) -> Bound:
    if kind == "html":
        return Bound(PAGE)
    if kind == "hf" or dtype == "f32":
        gelu = kind == "gguf" and module.shape.activation == "gelu_tanh"
        return Bound(GELU if gelu else EXACT)
    if dtype == "f16":
        return Bound(HALF)
    return Bound(WITNESS_KL[dtype[:2]], LOSS_KL[dtype[:2]])
