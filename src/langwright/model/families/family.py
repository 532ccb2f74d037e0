"""What makes a family of decoders: the settings it always has, and what others call its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from langwright.errors import Unsupported
from langwright.model.families.config import ConfigFile

if TYPE_CHECKING:
    from langwright.model.architecture import Architecture

Values = dict[str, Any]
Weights = dict[str, Tensor]


def strip_model(weights: Weights, shape: Architecture) -> Weights:
    """Hugging Face's names without `model.`, which are ours."""
    return {name.removeprefix("model."): values for name, values in weights.items()}


def prefix_model(weights: Weights, shape: Architecture) -> Weights:
    """Ours as Hugging Face's."""
    return {
        name if name.startswith("lm_head.") else f"model.{name}": values
        for name, values in weights.items()
    }


def apart(name: str, stack: Tensor) -> Weights:
    """A tensor that holds a matrix of all experts, as those of each: `….experts.up_proj.weight`
    becomes `….experts.0.up_proj.weight` and so on, without a copy."""
    before, between, behind = name.partition(".experts.")
    return {f"{before}{between}{one}.{behind}": values for one, values in enumerate(stack)}


@dataclass(frozen=True)
class Family:
    """`settings` hold for all of its models; `read` and `write` are its part of `config.json`;
    `to_ours` and `to_theirs` rename (and, where they differ, reshape) the weights; where it is
    `sparse`, each layer has experts."""

    name: str
    architecture: str
    """The class of transformers."""
    read: Callable[[ConfigFile], Values]
    write: Callable[[Architecture], Values]
    settings: Mapping[str, Any] = field(default_factory=dict)
    to_ours: Callable[[Weights, Architecture], Weights] = strip_model
    to_theirs: Callable[[Weights, Architecture], Weights] = prefix_model
    sparse: bool = False


def sizes(config: ConfigFile) -> Values:
    """The sizes, under the names that most families have."""
    heads, width = config.take("num_attention_heads"), config.take("hidden_size")
    if not isinstance(heads, int) or not isinstance(width, int) or heads < 1:
        raise Unsupported(
            f"config.json has num_attention_heads={heads!r} and hidden_size={width!r}.",
            remedy="Give the folder of a complete model.",
        )
    return {
        "vocab_size": config.take("vocab_size"),
        "hidden_size": width,
        "intermediate_size": config.take("intermediate_size"),
        "num_layers": config.take("num_hidden_layers"),
        "num_heads": heads,
        "num_kv_heads": config.take("num_key_value_heads", heads),
        "head_dim": config.take("head_dim", width // heads),
        "context_length": config.take("max_position_embeddings"),
        "norm_eps": config.take("rms_norm_eps", 1e-6),
    }


def write_sizes(shape: Architecture) -> Values:
    return {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.context_length,
        "rms_norm_eps": shape.norm_eps,
        "tie_word_embeddings": shape.tie_embeddings,
    }


def rotary(config: ConfigFile, theta: float = 10_000.0) -> Values:
    """`rope_parameters`, and their older spelling `rope_theta` with `rope_scaling`."""
    older, scaling = config.take("rope_theta"), config.take("rope_scaling")
    given = config.take("rope_parameters", {})
    config.must(partial_rotary_factor=1.0)
    rope = {**(scaling or {}), **given} if isinstance(given, dict) else None
    if rope is None or not isinstance(scaling or {}, dict):
        raise Unsupported(
            f"config.json has rope_parameters={given!r}.", remedy="Use a model without them."
        )
    base = rope.get("rope_theta") or older or theta
    context = config.take("max_position_embeddings")
    return {"rope_theta": base, "rope_scaling": read_scaling(rope, context)}


def read_scaling(rope: Mapping[str, Any], context: Any = None) -> Values | None:
    """One table of rope parameters as the settings of `RopeScaling`; None for plain positions."""
    kind = rope.get("rope_type") or rope.get("type") or "default"
    names = {
        "factor": "factor",
        "original_max_position_embeddings": "original_context",
        "low_freq_factor": "low_freq_factor",
        "high_freq_factor": "high_freq_factor",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "attention_factor": "attention_factor",
    }
    known = {"rope_type", "type", "rope_theta", *names}
    plain = {"partial_rotary_factor": 1.0, "truncate": True}
    unknown = {
        key: value
        for key, value in rope.items()
        if key not in known and value is not None and plain.get(key) != value
    }
    if kind == "default" and not names.keys() & rope.keys() and not unknown:
        return None
    if unknown or kind not in ("linear", "llama3", "yarn"):
        raise Unsupported(
            f"config.json has rope_parameters={dict(rope)!r}; built are the types default, linear,"
            " llama3 and yarn.",
            remedy="Use a model without such scaling.",
        )
    values = {ours: rope[theirs] for theirs, ours in names.items() if rope.get(theirs) is not None}
    if kind != "linear" and context is not None:
        values.setdefault("original_context", context)
    return {"kind": kind, **values}


def write_rotary(shape: Architecture) -> Values:
    return {
        "rope_theta": shape.rope_theta,
        "rope_parameters": rope_table(shape.rope_theta, shape.rope_scaling),
    }


def rope_table(theta: float, scaling: Any) -> Values:
    """One table of rope parameters."""
    if scaling is None:
        return {"rope_type": "default", "rope_theta": theta}
    names: Values = {"factor": scaling.factor}
    if scaling.kind != "linear":
        names["original_max_position_embeddings"] = scaling.original_context
    if scaling.kind == "llama3":
        names["low_freq_factor"] = scaling.low_freq_factor
        names["high_freq_factor"] = scaling.high_freq_factor
    if scaling.kind == "yarn":
        names["beta_fast"], names["beta_slow"] = scaling.beta_fast, scaling.beta_slow
        if scaling.attention_factor is not None:
            names["attention_factor"] = scaling.attention_factor
    return {"rope_type": scaling.kind, "rope_theta": theta, **names}


def windows(config: ConfigFile, layers: Any) -> Values:
    """The layers with a sliding window, from `layer_types` or the older fields."""
    used, size = config.take("use_sliding_window", False), config.take("sliding_window")
    kinds, first = config.take("layer_types"), config.take("max_window_layers", 0)
    if kinds is None:
        kinds = [
            "sliding_attention" if used and size and layer >= first else "full_attention"
            for layer in range(layers if isinstance(layers, int) else 0)
        ]
    known = {"sliding_attention", "full_attention"}
    if not isinstance(kinds, list) or not known.issuperset(kinds) or len(kinds) != layers:
        raise Unsupported(
            f"config.json has layer_types={kinds!r} for {layers!r} layers; built are"
            " full_attention and sliding_attention.",
            remedy="Use a model without other kinds.",
        )
    sliding = tuple(layer for layer, kind in enumerate(kinds) if kind == "sliding_attention")
    return {"sliding_window": size, "sliding_layers": sliding} if sliding else {}


def write_windows(shape: Architecture) -> Values:
    kinds = [
        "sliding_attention" if layer in shape.sliding_layers else "full_attention"
        for layer in range(shape.num_layers)
    ]
    return {
        "layer_types": kinds,
        "sliding_window": shape.sliding_window,
        "use_sliding_window": bool(shape.sliding_layers),
        "max_window_layers": min(shape.sliding_layers, default=shape.num_layers),
    }
