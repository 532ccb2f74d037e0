"""Arcee (AFM, 2025): Llama's attention, with a feed-forward of squared ReLU and no gate (So et al.
2021, "Primer")."""

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


def read(config: ConfigFile) -> Values:
    config.must(hidden_act="relu2", attention_bias=False, mlp_bias=False)
    tied = config.take("tie_word_embeddings", False)
    return {**sizes(config), **rotary(config), "tie_embeddings": tied}


def write(shape: Architecture) -> Values:
    plain = {"hidden_act": "relu2", "attention_bias": False, "mlp_bias": False}
    return {**write_sizes(shape), **write_rotary(shape), **plain}


ARCEE = Family("arcee", "ArceeForCausalLM", read, write, {"activation": "relu2", "gated": False})
