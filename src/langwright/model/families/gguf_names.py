"""What llama.cpp calls the families and their parts, and how it lays them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

COMMON = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""llama.cpp's name of a part -> ours; `blk.N.` becomes `layers.N.`."""


@dataclass(frozen=True)
class GGUFNames:
    """`neighbours`: rotary pairs lie beside each other in the rows of queries and keys, where ours
    lie half a head apart (llama.cpp's ROPE_TYPE_NORM)."""

    family: str
    neighbours: bool = False
    names: Mapping[str, str] = field(default_factory=lambda: COMMON)


ARCHITECTURES = {
    "llama": GGUFNames("llama", neighbours=True),
    "arcee": GGUFNames("arcee", neighbours=True),
    "smollm3": GGUFNames("smollm3", neighbours=True),
    "qwen2": GGUFNames("qwen2"),
    "qwen3": GGUFNames("qwen3"),
    "qwen3moe": GGUFNames(
        "qwen3_moe",
        names={
            **COMMON,
            "ffn_gate_inp": "mlp.gate",
            "ffn_gate_exps": "mlp.experts.gate_proj",
            "ffn_up_exps": "mlp.experts.up_proj",
            "ffn_down_exps": "mlp.experts.down_proj",
        },
    ),
    "gemma3": GGUFNames(
        "gemma3_text",
        names={
            **COMMON,
            "post_attention_norm": "post_attention_layernorm",
            "ffn_norm": "pre_feedforward_layernorm",
            "post_ffw_norm": "post_feedforward_layernorm",
        },
    ),
    "gpt2": GGUFNames(
        "gpt2", names={**COMMON, "position_embd": "embed_positions", "attn_qkv": "self_attn.qkv"}
    ),
}
"""By `general.architecture`."""
