"""What a model is, told without reading its weights: parts, memory, work."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from langwright.errors import Damaged
from langwright.model.architecture import Architecture
from langwright.model.bert import Bert, BertShape
from langwright.model.decoder import Decoder
from langwright.model.folder import read_json, stored_tensors
from langwright.model.gguf_file import GGUFFile
from langwright.model.gguf_settings import architecture
from langwright.model.transformer2017 import Shape2017, Transformer2017

Description = dict[str, Any]

BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}
"""A weight's, the scales of the whole numbers apart."""
_EXPERTS = ("num_experts", "experts_per_token", "expert_size", "num_active_parameters")
_PARTS = (
    ("embed", "embedding"),
    ("lm_head", "head"),
    ("norm", "norms"),
    ("attn", "attention"),
    ("mlp.gate.", "router"),
    (".experts.", "experts"),
    ("mlp", "feed_forward"),
)


def describe_module(module: nn.Module) -> Description:
    """Layers, parameters by part, bytes by precision, and of a decoder the FLOPs of one token at
    its whole context (forward, and with the backward pass of training; PaLM, appendix B) and the
    bytes that one token takes in the cache."""
    shape: Any = module.shape
    parts: Counter[str] = Counter()
    for name, parameter in module.named_parameters():  # a tied head counts once
        kind = next((part for word, part in _PARTS if word in name), "other")
        parts[kind] += parameter.numel()
    total = parts.total()
    told: Description = {
        "family": getattr(shape, "family", None) or type(module).__name__.lower(),
        "num_layers": shape.num_layers,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_heads": shape.num_heads,
        "num_kv_heads": getattr(shape, "num_kv_heads", shape.num_heads),
        "vocab_size": shape.vocab_size,
        "context_length": shape.context_length,
        "parameters": {"total": total, **dict(sorted(parts.items()))},
        "weights_bytes": {kind: math.ceil(total * size) for kind, size in BYTES.items()},
    }
    if isinstance(shape, Architecture):
        if shape.num_experts:
            told |= {key: getattr(shape, key) for key in _EXPERTS}
        training = shape.flops_per_token(shape.context_length)
        cached = 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim
        told["flops_per_token"] = {"forward": training // 3, "training": training}
        told["cache_bytes_per_token"] = {"float32": 4 * cached, "bfloat16": 2 * cached}
    return told


def describe_path(path: Path) -> Description:
    """The same of a GGUF file or a folder, with `stored`: how many parameters lie there in which
    type. Raises as loading does."""
    ggufs = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    if len(ggufs) == 1:
        file = GGUFFile(ggufs[0])
        shape: Any = architecture(file)
        kinds = ((file.type_name(name), math.prod(file.tensors[name].shape)) for name in file)
        files = ggufs
    else:
        config = read_json(path / "config.json") if (path / "config.json").is_file() else {}
        shape = _shape(config, path)
        kinds = ((kind, math.prod(size)) for kind, size in stored_tensors(path))
        files = list(path.glob("*.safetensors"))
    num_bytes = sum(one.stat().st_size for one in files)
    stored: Counter[str] = Counter()
    for kind, count in kinds:
        stored[kind] += count
    most = min(stored.total(), 8 * num_bytes)
    if isinstance(shape, Architecture) and shape.num_parameters > most:
        raise Damaged(  # before millions of modules are built
            f"{path} has settings for {shape.num_parameters:,} parameters, and holds fewer.",
            remedy="Fetch the model again, weights and settings together.",
        )
    with torch.device("meta"):
        module = _module(shape)
    return {**describe_module(module), "stored": dict(stored.most_common())}


def _shape(config: dict[str, Any], path: Path) -> Any:
    kind = config.get("model_type")
    if kind == "bert":
        return BertShape.from_hugging_face(config)
    if kind == "transformer2017":
        own = {key: value for key, value in config.items() if key in Shape2017.model_fields}
        return Shape2017.build(own)
    return Architecture.from_hugging_face(config)


def describe_shape(shape: Architecture | BertShape | Shape2017) -> Description:
    """As `describe_module`, of the model with that shape, whatever its weights are held as."""
    with torch.device("meta"):
        return describe_module(_module(shape))


def _module(shape: Any) -> nn.Module:
    if isinstance(shape, BertShape):
        return Bert(shape)
    return Transformer2017(shape) if isinstance(shape, Shape2017) else Decoder(shape)


def in_a_line(told: Description) -> str:
    """What is said before training."""
    parts = ", ".join(f"{part} {count:,}" for part, count in told["parameters"].items())
    text = f"{told['family']}, {told['num_layers']} layers; parameters: {parts}; "
    text += f"{told['weights_bytes']['float32'] / 1e6:,.1f} MB in float32"
    if "num_experts" in told:
        chosen = f"{told['experts_per_token']} of {told['num_experts']} experts"
        text += f"; a token goes through {chosen}, {told['num_active_parameters']:,} parameters"
    if "flops_per_token" in told:
        flops = told["flops_per_token"]["training"] / 1e6
        cache = told["cache_bytes_per_token"]["bfloat16"]
        text += f"; {flops:,.1f} MFLOPs to train a token, {cache:,} cache bytes a token (bfloat16)"
    return text
