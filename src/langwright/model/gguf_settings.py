"""The shape of a model from the fields of its GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from langwright.errors import Damaged, Unsupported
from langwright.model.architecture import Architecture
from langwright.model.families.gguf_names import ARCHITECTURES
from langwright.model.gguf_file import GGUFFile
from langwright.model.rope_scaling import RopeScaling
from langwright.model.rotary import Rotary

_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context": 8192}
"""Of Llama 3.1 to 3.3; a file holds what comes of them, not the numbers."""

_NORMALISED = (
    ("expert_weights_norm", True),
    ("expert_weights_scale", 1.0),
    ("expert_gating_func", 1),
    ("expert_shared_count", 0),
    ("expert_group_count", 0),
)
"""What llama.cpp does in qwen3moe: a softmax, whose chosen shares add up to one."""


def architecture(file: GGUFFile) -> Architecture:
    """Raises `Unsupported` for a family or a setting that is not built, `Damaged` for a file
    without what its family needs."""
    name = file.fields.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise Unsupported(
            f"{file.path} holds the family '{name}', which is not built.",
            remedy=f"Known: {', '.join(ARCHITECTURES)}.",
        )
    prefix = f"{name}."
    fields = {
        key.removeprefix(prefix): value
        for key, value in file.fields.items()
        if key.startswith(prefix)
    }
    try:
        return Architecture.build({"family": ARCHITECTURES[name].family, **_values(file, fields)})
    except (KeyError, ZeroDivisionError, TypeError, IndexError) as error:
        raise Damaged(
            f"{file.path} lacks a setting: {error}.", remedy="Fetch the file again."
        ) from None


def _values(file: GGUFFile, fields: Mapping[str, Any]) -> dict[str, Any]:
    name = file.fields["general.architecture"]
    heads, width = fields["attention.head_count"], fields["embedding_length"]
    head_dim = fields.get("attention.key_length", width // heads)
    for field, only in (
        ("rope.dimension_count", head_dim),
        ("attention.value_length", head_dim),
        *(_NORMALISED if name == "qwen3moe" else (("expert_count", 0),)),
        *((("attention.sliding_window", 0),) if name != "gemma3" else ()),
    ):
        if fields.get(field, only) != only:
            raise Unsupported(
                f"{file.path} has {name}.{field} = {fields[field]}; only {only} is built.",
                remedy="Use a model without it.",
            )
    layers = fields["block_count"]
    eps = "layer_norm_epsilon" if name == "gpt2" else "layer_norm_rms_epsilon"
    values = {
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "hidden_size": width,
        "intermediate_size": fields["feed_forward_length"],
        "num_layers": layers,
        "num_heads": heads,
        "num_kv_heads": fields.get("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "context_length": fields["context_length"],
        "norm_eps": fields[f"attention.{eps}"],
        "tie_embeddings": "output.weight" not in file.tensors,
    }
    if name != "gpt2":
        values["rope_theta"] = fields.get("rope.freq_base", 10_000.0)
        values["rope_scaling"] = _scaling(file, fields, values)
    if name == "smollm3":
        values["unrotated_layers"] = tuple(range(3, _within(layers), 4))
    if name == "qwen3moe":
        values["num_experts"] = fields["expert_count"]
        values["experts_per_token"] = fields["expert_used_count"]
        values["expert_size"] = fields["expert_feed_forward_length"]
    if name == "gemma3":
        values |= _gemma3(fields, values)
    return values


def _gemma3(fields: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """As llama.cpp has them: five layers with a window to one without, and of the largest model
    (62 layers) another scale of attention."""
    layers, every = values["num_layers"], fields.get("attention.sliding_window_pattern", 6)
    dim = values["hidden_size"] // values["num_heads"] if layers == 62 else values["head_dim"]
    return {
        "rope_theta": fields.get("rope.freq_base", 1_000_000.0),
        "local_rope_theta": fields.get("rope.freq_base_swa", 10_000.0),
        "sliding_window": fields["attention.sliding_window"],
        "sliding_layers": tuple(one for one in range(_within(layers)) if (one + 1) % every),
        "attention_scale": dim**-0.5,
        "logit_softcap": fields.get("final_logit_softcapping"),
    }


def _within(layers: int) -> int:
    """A damaged file must not make us list billions of layers."""
    return min(layers, 65_536)


def _scaling(
    file: GGUFFile, fields: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any] | None:
    kind, factor = fields.get("rope.scaling.type", "none"), fields.get("rope.scaling.factor")
    if "rope.scale_linear" in fields and fields["rope.scale_linear"] != 1.0:
        kind, factor = "linear", fields["rope.scale_linear"]
    if "rope_freqs.weight" in file.tensors:
        return _llama3(file, values)
    if kind == "none" or (kind == "linear" and factor in (None, 0.0, 1.0)):
        return None
    if factor is None:
        raise KeyError("rope.scaling.factor")
    if kind == "linear":
        return {"kind": "linear", "factor": factor}
    if kind == "yarn":
        context = fields.get("rope.scaling.original_context_length", values["context_length"])
        return {"kind": "yarn", "factor": factor, "original_context": context}
    raise Unsupported(
        f"{file.path} asks for the rope scaling '{kind}', which is not built.",
        remedy="Use a model without it.",
    )


def _llama3(file: GGUFFile, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings whose frequencies are those of the file's divisors."""
    divisors = file.tensor("rope_freqs.weight")
    scaling = {"kind": "llama3", "factor": float(divisors.max()), **_LLAMA3}
    dim, theta = values["head_dim"], values["rope_theta"]
    plain = Rotary(dim, theta).frequencies
    expected = plain / Rotary(dim, theta, RopeScaling.build(scaling)).frequencies
    if divisors.shape != expected.shape or not np.allclose(divisors, expected, rtol=1e-4):
        raise Unsupported(
            f"{file.path} scales its rotary positions in a way that is not known.",
            remedy="Use the model's Hugging Face folder, which names it.",
        )
    return scaling
