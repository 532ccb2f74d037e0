"""SmolLM 3 (Hugging Face 2025): Llama's parts, every fourth layer without positions (Yang et al.
2025, "RoPE to NoPE and back again")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langwright.model.families.config import ConfigFile
from langwright.model.families.family import (
    Family,
    Values,
    rotary,
    sizes,
    windows,
    write_rotary,
    write_sizes,
    write_windows,
)

if TYPE_CHECKING:
    from langwright.model.architecture import Architecture


def read(config: ConfigFile) -> Values:
    config.must(hidden_act="silu", attention_bias=False, mlp_bias=False)
    values = sizes(config)
    layers, every = values["num_layers"], config.take("no_rope_layer_interval", 4)
    turned = config.take("no_rope_layers")  # 1 where there IS rotation, despite the name
    if turned is None:
        turned = [int((layer + 1) % every != 0) for layer in range(layers)]
    still = tuple(layer for layer, one in enumerate(turned) if not one)
    return {
        **values,
        **rotary(config, 2_000_000.0),
        **windows(config, layers),
        "unrotated_layers": still,
        "tie_embeddings": config.take("tie_word_embeddings", True),
    }


def write(shape: Architecture) -> Values:
    turned = [int(layer not in shape.unrotated_layers) for layer in range(shape.num_layers)]
    plain = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    return {
        **write_sizes(shape),
        **write_rotary(shape),
        **write_windows(shape),
        **plain,
        "no_rope_layers": turned,
        "pad_token_id": None,  # whose default lies beyond a small vocabulary
    }


SMOLLM3 = Family("smollm3", "SmolLM3ForCausalLM", read, write)
