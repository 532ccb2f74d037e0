"""Llama (Touvron et al. 2023): RMSNorm, rotary positions, grouped queries, SwiGLU, no biases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langwright.model.families.config import ConfigFile
from langwright.model.families.family import (
    Family,
    Values,
    rotary,
    sizes,
    write_rotary,
    write_sizes,
)

if TYPE_CHECKING:
    from langwright.model.architecture import Architecture


def read(config: ConfigFile, activation: str = "silu") -> Values:
    config.must(hidden_act=activation, attention_bias=False, mlp_bias=False, sliding_window=None)
    tied = config.take("tie_word_embeddings", False)
    return {**sizes(config), **rotary(config), "tie_embeddings": tied}


def write(shape: Architecture, activation: str = "silu") -> Values:
    plain = {"hidden_act": activation, "attention_bias": False, "mlp_bias": False}
    return {**write_sizes(shape), **write_rotary(shape), **plain}


LLAMA = Family("llama", "LlamaForCausalLM", read, write)
