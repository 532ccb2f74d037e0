"""The compiled decode step against torch's, which is its plain twin."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from langwright.inference.kernels import DecodeStep, cover, prepare, ready, why_not
from langwright.inference.kernels.threads import CREW
from langwright.model import Adapters, Architecture, Decoder, KVCache, LoRASettings
from langwright.model.blocks import Q8_0, Blocks
from langwright.model.quantised import Int4, Int8, QuantisedLinear, held, install, of_blocks

pytest.importorskip("numba")

SIZES: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_layers": 3,
    "num_heads": 6,
    "num_kv_heads": 2,
    "head_dim": 16,
    "context_length": 64,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"rope_scaling": {"kind": "linear", "factor": 2.0}},
    "qwen2": {"tie_embeddings": False},
    "qwen3": {"attention_scale": 0.3},
    "smollm3": {"unrotated_layers": (1,)},
    "gpt2": {"num_kv_heads": 6},
    "gemma3_text": {
        "sliding_window": 8, "sliding_layers": (0, 1), "local_rope_theta": 100.0,
        "logit_softcap": 3.0, "head_dim": 40, "num_heads": 4, "num_kv_heads": 1,
    },
    "arcee": {},
}  # fmt: skip


def decoder(family: str = "llama", **settings: Any) -> Decoder:
    """A small model whose every tensor matters."""
    given = {**SIZES, **FAMILIES[family], **settings}
    module = Decoder(Architecture.build({"family": family, **given}))
    numbers = torch.Generator().manual_seed(5)
    for name, weight in module.named_parameters():
        one_dim = weight.dim() == 1
        with torch.no_grad():
            weight.normal_(0.0, 0.3 if one_dim else weight.shape[1] ** -0.5, generator=numbers)
            if name.endswith("norm.weight"):
                weight += 1.0
    return module.requires_grad_(False).eval()


def quantised(dtype: str) -> tuple[Decoder, Decoder]:
    """A model with its matrices held as `dtype`, and one that has their values in float32."""
    module, plain = (decoder(vocab_size=128, intermediate_size=192) for _ in range(2))
    for name, weight in list(module.named_parameters()):
        if dtype == "q8_0" and weight.dim() == 2:
            blocks = of_blocks(_q8_0(weight))
            install(module, {name: blocks})
        elif isinstance(kept := held(name, weight, dtype), Tensor):
            weight.data = kept
        else:
            install(module, {name: kept})
    module.to(torch.bfloat16)
    if dtype == "q8_0":
        for one in module.modules():
            if isinstance(one, Int8):
                one.scales = one.scales.half()
    module.set_submodule("lm_head", _tied(module))
    for name, weight in plain.named_parameters():
        weight.data = module.get_parameter(name).float() if _has(module, name) else (
            getattr(module.get_submodule(name.removesuffix(".weight")), "weight").float()
        )
    return module, plain
