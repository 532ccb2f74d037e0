"""The settings that shape a decoder, and the two families that are built from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from langwright.config import Settings
from langwright.errors import Unsupported

Size = Annotated[int, Field(ge=1, lt=2**31)]


class Architecture(Settings):
    """Shape of a decoder-only transformer, in Hugging Face's terms.

    `llama` is RMSNorm, rotary positions, grouped-query attention and SwiGLU without biases
    (Touvron et al. 2023); `qwen3` adds an RMSNorm over each query and key head before the
    rotation (Qwen team 2025), which steadies training.
    """

    family: Literal["llama", "qwen3"] = "qwen3"
    vocab_size: Size
    hidden_size: Size
    intermediate_size: Size
    num_layers: Size
    num_heads: Size
    num_kv_heads: Size
    head_dim: Size
    context_length: Size
    rope_theta: float = Field(10_000.0, gt=0, allow_inf_nan=False)
    rms_norm_eps: float = Field(1e-6, ge=0, allow_inf_nan=False)
    tie_embeddings: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        if self.num_heads % self.num_kv_heads:
            raise ValueError("num_heads must be a multiple of num_kv_heads")
        if self.head_dim % 2:
            raise ValueError("head_dim must be even for rotary positions")
        return self

    @property
    def qk_norm(self) -> bool:
        return self.family == "qwen3"

    @property
    def num_parameters(self) -> int:
        """Trainable values, a tied head counted once."""
        attention = self.hidden_size * self.head_dim * 2 * (self.num_heads + self.num_kv_heads)
        norms = 2 * self.hidden_size + (2 * self.head_dim if self.qk_norm else 0)
        layer = attention + 3 * self.hidden_size * self.intermediate_size + norms
        tables = self.vocab_size * self.hidden_size * (1 if self.tie_embeddings else 2)
        return tables + self.num_layers * layer + self.hidden_size

    def flops_per_token(self, context: int) -> int:
        """Forward and backward FLOPs for one token at `context` (PaLM, appendix B): 6N + 12LTd,
        N being the matrices a token is multiplied with, the head included, the table not."""
        attention = self.hidden_size * self.head_dim * 2 * (self.num_heads + self.num_kv_heads)
        matrices = self.num_layers * (attention + 3 * self.hidden_size * self.intermediate_size)
        matrices += self.vocab_size * self.hidden_size
        return 6 * matrices + 12 * self.num_layers * context * self.num_heads * self.head_dim

    def to_hugging_face(self) -> dict[str, Any]:
        """`config.json` as transformers reads it."""
        name = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}[self.family]
        return {
            "architectures": [name],
            "model_type": self.family,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.context_length,
            "rope_theta": self.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "rms_norm_eps": self.rms_norm_eps,
            "tie_word_embeddings": self.tie_embeddings,
            "hidden_act": "silu",
            "attention_bias": False,
            "torch_dtype": "float32",
        }

    @classmethod
    def from_hugging_face(cls, config: dict[str, Any]) -> Architecture:
        """Read `config.json`; a field that would change the result is an error, not a guess."""
        family = config.get("model_type")
        if family not in ("llama", "qwen3"):
            raise Unsupported(
                f"The model family '{family}' is not built.", remedy="Known: llama, qwen3."
            )
        plain = {
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "rope_scaling": None,
            "use_sliding_window": False,
            "sliding_window": None,
            "quantization_config": None,
            "partial_rotary_factor": 1.0,
        }
        for field, only in plain.items():
            if config.get(field, only) != only:
                raise Unsupported(
                    f"config.json has {field}={config[field]!r}; only {only!r} is built.",
                    remedy="Use a model without it.",
                )
        rope = config.get("rope_parameters") or {}
        known = {"rope_type": "default", "type": "default", "partial_rotary_factor": 1.0}
        if not isinstance(rope, dict) or any(
            key != "rope_theta" and (key not in known or value != known[key])
            for key, value in rope.items()
        ):
            raise Unsupported(
                f"config.json has rope_parameters={rope!r}; only rope_type 'default' is built.",
                remedy="Use a model without rope scaling.",
            )
        heads, width = config.get("num_attention_heads"), config.get("hidden_size")
        if not isinstance(heads, int) or not isinstance(width, int) or heads < 1:
            raise Unsupported(
                f"config.json has num_attention_heads={heads!r} and hidden_size={width!r}.",
                remedy="Give the folder of a complete model.",
            )
        theta = rope.get("rope_theta") or config.get("rope_theta")
        values = {
            "family": family,
            "vocab_size": config.get("vocab_size"),
            "hidden_size": width,
            "intermediate_size": config.get("intermediate_size"),
            "num_layers": config.get("num_hidden_layers"),
            "num_heads": heads,
            "num_kv_heads": config.get("num_key_value_heads", heads),
            "head_dim": config.get("head_dim") or width // heads,
            "context_length": config.get("max_position_embeddings"),
            "rope_theta": theta,
            "rms_norm_eps": config.get("rms_norm_eps"),
            "tie_embeddings": config.get("tie_word_embeddings", False),
        }
        return cls.build({key: value for key, value in values.items() if value is not None})
