"""Qwen 3's mixtures of experts (Qwen team 2025): its attention, and in every layer a feed-forward
of many experts (see `model/experts.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langwright.errors import Unsupported
from langwright.model.families.config import ConfigFile
from langwright.model.families.family import (
    Family,
    Values,
    Weights,
    apart,
    rotary,
    sizes,
    strip_model,
    write_rotary,
    write_sizes,
)

if TYPE_CHECKING:
    from langwright.model.architecture import Architecture

SETTINGS = {"qk_norm": True, "gated": True, "mlp_bias": False}
# Layers without experts are not built, nor is the one window that transformers gives to all layers.
_ONLY: Values = {
    "hidden_act": "silu",
    "attention_bias": False,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "use_sliding_window": False,
}


def read(config: ConfigFile) -> Values:
    config.must(**_ONLY, layer_types=None)
    for unused in ("sliding_window", "output_router_logits", "router_aux_loss_coef"):
        config.take(unused)
    count, older = config.take("num_local_experts"), config.take("num_experts")
    if None not in (count, older) and count != older:
        raise Unsupported(
            f"config.json has num_local_experts={count!r} and num_experts={older!r}.",
            remedy="Give the folder of a complete model.",
        )
    return {
        **sizes(config),
        **rotary(config),
        "num_experts": older if count is None else count,
        "experts_per_token": config.take("num_experts_per_tok"),
        "expert_size": config.take("moe_intermediate_size"),
        "norm_topk_prob": config.take("norm_topk_prob", False),
        "tie_embeddings": config.take("tie_word_embeddings", False),
    }


def write(shape: Architecture) -> Values:
    return {
        **write_sizes(shape),
        **write_rotary(shape),
        **_ONLY,
        "num_experts": shape.num_experts,
        "num_experts_per_tok": shape.experts_per_token,
        "moe_intermediate_size": shape.expert_size,
        "norm_topk_prob": shape.norm_topk_prob,
    }


def to_ours(weights: Weights, shape: Architecture) -> Weights:
    """Hugging Face's names are ours; transformers may also keep all experts in two tensors."""
    ours: Weights = {}
    gate_up = (shape.num_experts, 2 * shape.expert_size, shape.hidden_size)
    down = (shape.num_experts, shape.hidden_size, shape.expert_size)
    for name, values in strip_model(weights, shape).items():
        if name.endswith(".mlp.experts.gate_up_proj") and values.shape == gate_up:
            path = name.removesuffix("gate_up_proj")
            for part, half in zip(("gate", "up"), values.chunk(2, dim=1), strict=True):
                ours |= apart(f"{path}{part}_proj.weight", half)
        elif name.endswith(".mlp.experts.down_proj") and values.shape == down:
            ours |= apart(f"{name}.weight", values)
        else:
            ours[name] = values
    return ours


QWEN3_MOE = Family("qwen3_moe", "Qwen3MoeForCausalLM", read, write, SETTINGS, to_ours, sparse=True)
