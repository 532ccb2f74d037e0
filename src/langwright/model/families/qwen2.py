"""Qwen 2 (Qwen team 2024): Llama's parts, with biases on queries, keys and values."""

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
    config.must(hidden_act="silu")
    values = sizes(config)
    tied = config.take("tie_word_embeddings", False)
    sliding = windows(config, values["num_layers"])
    return {**values, **rotary(config), **sliding, "tie_embeddings": tied}


def write(shape: Architecture) -> Values:
    return {
        **write_sizes(shape),
        **write_rotary(shape),
        **write_windows(shape),
        "hidden_act": "silu",
    }


QWEN2 = Family("qwen2", "Qwen2ForCausalLM", read, write, {"qkv_bias": True})
