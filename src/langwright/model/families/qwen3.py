"""Qwen 3 (Qwen team 2025): Llama's parts, with an RMSNorm over each query and key head before the
rotation, which steadies training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langwright.model.families import qwen2
from langwright.model.families.config import ConfigFile
from langwright.model.families.family import Family, Values

if TYPE_CHECKING:
    from langwright.model.architecture import Architecture


def read(config: ConfigFile) -> Values:
    config.must(attention_bias=False)
    return qwen2.read(config)


def write(shape: Architecture) -> Values:
    return {**qwen2.write(shape), "attention_bias": False}


QWEN3 = Family("qwen3", "Qwen3ForCausalLM", read, write, {"qk_norm": True})
