"""The settings that shape a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from langwright.config import Settings
from langwright.errors import Unsupported, suggest
from langwright.model.families import FAMILIES, ConfigFile, Family
from langwright.model.flops import training_flops
from langwright.model.rope_scaling import RopeScaling

Size = Annotated[int, Field(ge=1, lt=2**31)]
MAX_EXPERTS = 4096
"""In a layer; the largest known has 512."""
Layers = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(max_length=65_536)]


class Architecture(Settings):
    """Shape of a decoder-only transformer.

    A family (see `families/`) fixes what its models have in common; what it leaves open may be
    given. `sliding_layers` see the last `sliding_window` positions only, and turn by
    `local_rope_theta` where that is given; `unrotated_layers` know no positions. In a sparse family
    a token goes through `experts_per_token` of a layer's `num_experts`, each `expert_size` wide
    inside; with `norm_topk_prob` their shares add up to one.
    """

    family: str = "qwen3"
    vocab_size: Size
    hidden_size: Size
    intermediate_size: Size
    num_layers: Size
    num_heads: Size
    num_kv_heads: Size
    head_dim: Size
    context_length: Size
    positions: Literal["rotary", "learned"] = "rotary"
    rope_theta: float = Field(10_000.0, gt=0, allow_inf_nan=False)
    rope_scaling: RopeScaling | None = None
    local_rope_theta: float | None = Field(None, gt=0, allow_inf_nan=False)
    sliding_window: Size | None = None
    sliding_layers: Layers = ()
    unrotated_layers: Layers = ()
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = Field(1e-6, ge=0, allow_inf_nan=False)
    norm_offset: float = Field(0.0, allow_inf_nan=False)
    sandwich_norms: bool = False
    qk_norm: bool = False
    attention_scale: float | None = Field(None, gt=0, allow_inf_nan=False)
    qkv_bias: bool = False
    output_bias: bool = False
    activation: Literal["silu", "gelu_tanh", "relu2"] = "silu"
    gated: bool = True
    mlp_bias: bool = False
    num_experts: int = Field(0, ge=0, le=MAX_EXPERTS)
    experts_per_token: int = Field(0, ge=0)
    expert_size: int = Field(0, ge=0, lt=2**31)
    norm_topk_prob: bool = True
    scale_embeddings: bool = False
    logit_softcap: float | None = Field(None, gt=0, allow_inf_nan=False)
    tie_embeddings: bool = True

    @model_validator(mode="before")
    @classmethod
    def _with_family(cls, values: Any) -> Any:
        """What the family fixes is filled in, and may not be contradicted."""
        if not isinstance(values, Mapping):
            return values
        name = values.get("family", cls.model_fields["family"].default)
        family = FAMILIES.get(name) if isinstance(name, str) else None
        if family is None:
            raise ValueError(f"there is no family {name!r}; known are {', '.join(FAMILIES)}")
        for key, only in family.settings.items():
            if values.get(key, only) != only:
                raise ValueError(f"{key} is {only!r} in the family {name}")
        return {**values, **family.settings}

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        if self.num_heads % self.num_kv_heads:
            raise ValueError("num_heads must be a multiple of num_kv_heads")
        if self.positions == "rotary" and self.head_dim % 2:
            raise ValueError("head_dim must be even for rotary positions")
        if any(
            layer >= self.num_layers for layer in (*self.sliding_layers, *self.unrotated_layers)
        ):
            raise ValueError("sliding_layers and unrotated_layers must be of the layers")
        if self.sliding_layers and self.sliding_window is None:
            raise ValueError("sliding_layers need a sliding_window")
        for key in ("num_experts", "experts_per_token", "expert_size"):
            if bool(value := getattr(self, key)) != self.of.sparse:
                has = "has" if self.of.sparse else "has no"
                raise ValueError(f"the family {self.family} {has} experts; {key} is {value}")
        if self.experts_per_token > self.num_experts:
            raise ValueError(
                f"experts_per_token is {self.experts_per_token}, num_experts {self.num_experts}"
            )
        scaling = self.rope_scaling
        if scaling and scaling.kind != "linear" and scaling.original_context is None:
            raise ValueError(f"rope_scaling {scaling.kind} needs original_context")
        return self

    @property
    def of(self) -> Family:
        """The family itself."""
        return FAMILIES[self.family]

    def window(self, layer: int) -> int | None:
        """How many positions a layer sees, its own among them; None for all."""
        return self.sliding_window if layer in self.sliding_layers else None

    @property
    def matrices(self) -> int:
        """Values of the matrices that each token is multiplied with, the head included; of the
        experts those that it goes through."""
        attention = self.hidden_size * self.head_dim * 2 * (self.num_heads + self.num_kv_heads)
        inner = self.experts_per_token * self.expert_size or self.intermediate_size
        feed_forward = (3 if self.gated else 2) * self.hidden_size * inner
        feed_forward += self.hidden_size * self.num_experts  # the router
        return self.num_layers * (attention + feed_forward) + self.vocab_size * self.hidden_size

    @property
    def num_parameters(self) -> int:
        """Trainable values, a tied head counted once."""
        resting = self.num_layers * (self.num_experts - self.experts_per_token)
        expert = (3 if self.gated else 2) * self.hidden_size * self.expert_size
        return self.num_active_parameters + resting * expert

    @property
    def num_active_parameters(self) -> int:
        """The same without the experts that a token does not go through."""
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        norm = self.hidden_size * (2 if self.norm == "layer" else 1)
        layer = norm * (4 if self.sandwich_norms else 2)
        layer += 2 * self.head_dim if self.qk_norm else 0
        layer += queries + 2 * keys if self.qkv_bias else 0
        layer += self.hidden_size if self.output_bias else 0
        inner = self.intermediate_size * (2 if self.gated else 1)
        layer += inner + self.hidden_size if self.mlp_bias else 0
        tables = 0 if self.tie_embeddings else self.vocab_size * self.hidden_size
        if self.positions == "learned":
            tables += self.context_length * self.hidden_size
        return self.matrices + tables + self.num_layers * layer + norm

    def flops_per_token(self, context: int) -> int:
        """`training_flops` of one token at `context`; a layer with a window attends to no more
        than that."""
        seen = sum(min(context, self.window(layer) or context) for layer in range(self.num_layers))
        return training_flops(self.matrices, seen, self.num_heads * self.head_dim)

    def to_hugging_face(self) -> dict[str, Any]:
        """`config.json` as transformers reads it."""
        return {
            "architectures": [self.of.architecture],
            "model_type": self.family,
            **self.of.write(self),
        }

    @classmethod
    def from_hugging_face(cls, config: dict[str, Any]) -> Architecture:
        """Read `config.json`; a field that would change the result is an error, not a guess."""
        name = config.get("model_type")
        family = FAMILIES.get(name) if isinstance(name, str) else None
        if family is None:
            raise Unsupported(
                f"The model family '{name}' is not built.", remedy=suggest(str(name), FAMILIES)
            )
        fields = ConfigFile(config)
        fields.must(quantization_config=None)
        values = family.read(fields)
        fields.finish()
        given = {key: value for key, value in values.items() if value is not None}
        return cls.build({"family": name, **given})
