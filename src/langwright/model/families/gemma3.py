"""Gemma 3, text (Gemma team 2025): norms before and behind each part, whose weights are told as
differences from one; queries and keys normed; GeGLU; five layers of a window to one that sees all,
each kind with its own rotary base; the table scaled by the root of the width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langwright.errors import Unsupported
from langwright.model.families.config import ConfigFile
from langwright.model.families.family import (
    Family,
    Values,
    read_scaling,
    rope_table,
    sizes,
    windows,
    write_sizes,
    write_windows,
)

if TYPE_CHECKING:
    from langwright.model.architecture import Architecture

SETTINGS = {
    "qk_norm": True,
    "activation": "gelu_tanh",
    "sandwich_norms": True,
    "norm_offset": 1.0,
    "scale_embeddings": True,
}


def read(config: ConfigFile) -> Values:
    config.must(
        hidden_activation="gelu_pytorch_tanh",
        attention_bias=False,
        attn_logit_softcapping=None,
        use_bidirectional_attention=False,
    )
    values = sizes(config)
    layers = values["num_layers"]
    every = config.take("sliding_window_pattern", config.take("_sliding_window_pattern", 6))
    sliding = windows(config, layers) if config.take("layer_types") else {
        "sliding_window": config.take("sliding_window", 4096),
        "sliding_layers": tuple(layer for layer in range(layers) if (layer + 1) % every),
    }  # fmt: skip
    config.take("use_sliding_window")
    older = {"rope_theta": config.take("rope_theta", 1_000_000.0)}
    older |= config.take("rope_scaling", {})
    rope = config.take("rope_parameters", {})
    if not {"full_attention", "sliding_attention"}.issuperset(rope):
        raise Unsupported(
            f"config.json has rope_parameters={rope!r}; built is a table for each kind of layer.",
            remedy="Use a model without other scaling.",
        )
    full = {**older, **rope.get("full_attention", {})}
    near = {"rope_theta": config.take("rope_local_base_freq", 10_000.0)}
    near |= rope.get("sliding_attention", {})
    if read_scaling(near) is not None:
        raise Unsupported(
            f"config.json scales the positions of layers with a window: {near!r}.",
            remedy="Use a model whose sliding_attention layers have plain positions.",
        )
    return {
        **values,
        **sliding,
        "rope_theta": full["rope_theta"],
        "rope_scaling": read_scaling(full, values["context_length"]),
        "local_rope_theta": near["rope_theta"],
        "attention_scale": config.take("query_pre_attn_scalar", 256) ** -0.5,
        "logit_softcap": config.take("final_logit_softcapping"),
        "tie_embeddings": config.take("tie_word_embeddings", True),
    }


def write(shape: Architecture) -> Values:
    local = shape.local_rope_theta or 10_000.0
    scalar = (shape.attention_scale or shape.head_dim**-0.5) ** -2
    return {
        **write_sizes(shape),
        **write_windows(shape),
        "rope_parameters": {
            "full_attention": rope_table(shape.rope_theta, shape.rope_scaling),
            "sliding_attention": rope_table(local, None),
        },
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "query_pre_attn_scalar": round(scalar),  # transformers wants a whole number
        "final_logit_softcapping": shape.logit_softcap,
    }


GEMMA3 = Family("gemma3_text", "Gemma3ForCausalLM", read, write, SETTINGS)
