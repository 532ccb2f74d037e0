"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm, GELU, biases, a tied head."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from langwright.model.families.config import ConfigFile
from langwright.model.families.family import Family, Values, Weights

if TYPE_CHECKING:
    from langwright.model.architecture import Architecture

SETTINGS = {
    "positions": "learned",
    "norm": "layer",
    "activation": "gelu_tanh",
    "gated": False,
    "qkv_bias": True,
    "output_bias": True,
    "mlp_bias": True,
}
# Ours -> theirs, in a layer and outside. Theirs lie as Conv1D holds them: inputs first.
_IN_LAYER = {
    "input_layernorm": "ln_1",
    "post_attention_layernorm": "ln_2",
    "self_attn.o_proj": "attn.c_proj",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}
_OUTSIDE = {"embed_tokens": "wte", "embed_positions": "wpe", "norm": "ln_f"}
_QKV = tuple(f"self_attn.{part}_proj" for part in "qkv")
_LAYER = re.compile(r"(?:transformer\.)?h\.([0-9]+)\.(.+)\.(weight|bias)")


def read(config: ConfigFile) -> Values:
    config.must(
        activation_function="gelu_new",
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
    )
    config.take("reorder_and_upcast_attn")  # the same function, in other precision
    config.take("n_ctx")
    width, heads = config.take("n_embd", 768), config.take("n_head", 12)
    return {
        "vocab_size": config.take("vocab_size"),
        "hidden_size": width,
        "intermediate_size": config.take("n_inner", 4 * width),
        "num_layers": config.take("n_layer", 12),
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": width // heads,
        "context_length": config.take("n_positions", 1024),
        "norm_eps": config.take("layer_norm_epsilon", 1e-5),
        "tie_embeddings": config.take("tie_word_embeddings", True),
    }


def write(shape: Architecture) -> Values:
    return {
        "vocab_size": shape.vocab_size,
        "n_embd": shape.hidden_size,
        "n_inner": shape.intermediate_size,
        "n_layer": shape.num_layers,
        "n_head": shape.num_heads,
        "n_positions": shape.context_length,
        "layer_norm_epsilon": shape.norm_eps,
        "activation_function": "gelu_new",
        "tie_word_embeddings": shape.tie_embeddings,
    }


def to_ours(weights: Weights, shape: Architecture) -> Weights:
    ours: Weights = {}
    inside = {theirs: name for name, theirs in _IN_LAYER.items()}
    outside = {theirs: name for name, theirs in _OUTSIDE.items()}
    for name, values in weights.items():
        match = _LAYER.fullmatch(name)
        if match is None:
            part, _, end = name.removeprefix("transformer.").rpartition(".")
            ours[f"{outside.get(part, part)}.{end}"] = values
            continue
        layer, part, end = f"layers.{match[1]}", match[2], match[3]
        if part in ("attn.bias", "attn.masked_bias") or (part, end) == ("attn", "bias"):
            continue  # the causal mask, which old files hold
        turned = values.T.contiguous() if values.dim() == 2 else values
        if part == "attn.c_attn":
            for piece, one in zip(_QKV, turned.chunk(3), strict=True):
                ours[f"{layer}.{piece}.{end}"] = one.contiguous()
        else:
            ours[f"{layer}.{inside.get(part, part)}.{end}"] = turned
    return ours


def to_theirs(weights: Weights, shape: Architecture) -> Weights:
    theirs: Weights = {}
    for name, values in weights.items():
        part, _, end = name.rpartition(".")
        if not part.startswith("layers."):
            where = "" if part == "lm_head" else "transformer."
            theirs[f"{where}{_OUTSIDE.get(part, part)}.{end}"] = values
            continue
        _, layer, inside = part.split(".", 2)
        if inside in _IN_LAYER:
            turned = values.T.contiguous() if values.dim() == 2 else values
            theirs[f"transformer.h.{layer}.{_IN_LAYER[inside]}.{end}"] = turned
        elif inside == _QKV[0]:
            rows = torch.cat([weights[f"layers.{layer}.{piece}.{end}"] for piece in _QKV])
            turned = rows.T.contiguous() if rows.dim() == 2 else rows
            theirs[f"transformer.h.{layer}.attn.c_attn.{end}"] = turned
    return theirs


GPT2 = Family("gpt2", "GPT2LMHeadModel", read, write, SETTINGS, to_ours, to_theirs)
