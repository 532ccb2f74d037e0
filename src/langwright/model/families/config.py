"""A `config.json`, read to the last field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.errors import Unsupported

# What changes no result: provenance, training, generation, and how others keep the model.
_HARMLESS = """
_attn_implementation _name_or_path architectures attention_dropout attn_pdrop auto_map bos_token_id
cache_implementation chunk_size_feed_forward dtype embd_pdrop eos_token_id id2label
initializer_range is_encoder_decoder label2id layer_norm_type max_window_layers model_type
no_rope_layer_interval output_attentions output_hidden_states pad_token_id pretraining_tp
problem_type resid_pdrop return_dict summary_activation summary_first_dropout
summary_proj_to_labels summary_type summary_use_proj task_specific_params torch_dtype
transformers_version use_cache
"""
HARMLESS = frozenset(_HARMLESS.split())


class ConfigFile:
    """The fields of a `config.json`; each is taken, must have one value, or is known to change
    nothing. `finish` refuses what is left: it may matter."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)
        self._seen: set[str] = set()

    def take(self, name: str, default: Any = None) -> Any:
        """The value of a field; null is as good as none."""
        self._seen.add(name)
        value = self._fields.get(name)
        return default if value is None else value

    def must(self, **values: Any) -> None:
        """Raises `Unsupported` for a field with another value than the one that is built."""
        for name, only in values.items():
            if self.take(name, only) != only:
                raise Unsupported(
                    f"config.json has {name}={self._fields[name]!r}; only {only!r} is built.",
                    remedy="Use a model without it.",
                )

    def finish(self) -> None:
        """Raises `Unsupported` for fields that nobody asked for, if they say anything."""
        silent: tuple[Any, ...] = (None, False, {}, [])
        left = [
            name
            for name, value in self._fields.items()
            if name not in self._seen and name not in HARMLESS and value not in silent
        ]
        if left:
            raise Unsupported(
                f"config.json has fields that are not known: {', '.join(sorted(left)[:8])}.",
                remedy="They may change what the model computes, so it is not loaded.",
            )
