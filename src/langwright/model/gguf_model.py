"""A model out of a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from langwright.errors import Damaged, Unsupported
from langwright.model.architecture import Architecture
from langwright.model.bundle import ModelBundle, decoder_from
from langwright.model.gguf_file import GGUFFile
from langwright.tokens import ChatTemplate, Tokenizer, tokenizer_from_gguf

# llama.cpp's name of a part -> ours; `blk.N.` becomes `layers.N.`.
NAMES = {
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


def load_gguf(path: Path) -> ModelBundle:
    """Read a llama or qwen3 GGUF, dequantised to float32, with its tokenizer and template."""
    file = GGUFFile(path)
    shape = _architecture(file)
    tokenizer = tokenizer_from_gguf(file.fields)
    weights = {}
    for name in file:
        values = file.tensor(name)
        if shape.family == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
            heads = shape.num_heads if name.endswith("attn_q.weight") else shape.num_kv_heads
            values = _unpermute(values, heads)
        weights[_our_name(name)] = torch.from_numpy(values)
    module = decoder_from(shape, weights)
    return ModelBundle(
        module,
        tokenizer,
        _template(file.fields, tokenizer),
        _end_ids(file.fields),
        file.fields.get("tokenizer.ggml.bos_token_id")
        if file.fields.get("tokenizer.ggml.add_bos_token", False)
        else None,
        file.fields.get("general.license"),
    )


def _architecture(file: GGUFFile) -> Architecture:
    fields = file.fields
    family = fields.get("general.architecture")
    if family not in ("llama", "qwen3"):
        raise Unsupported(
            f"{file.path} holds the family '{family}', which is not built.",
            remedy="Known: llama, qwen3.",
        )
    if fields.get(f"{family}.rope.scaling.type", "none") != "none" or "rope_freqs.weight" in file:
        raise Unsupported(
            f"{file.path} asks for rope scaling, which is not built.",
            remedy="Use a model without it.",
        )
    try:
        heads = fields[f"{family}.attention.head_count"]
        width = fields[f"{family}.embedding_length"]
        table = file.tensors["token_embd.weight"]
        return Architecture.build(
            {
                "family": family,
                "vocab_size": table.shape[0],
                "hidden_size": width,
                "intermediate_size": fields[f"{family}.feed_forward_length"],
                "num_layers": fields[f"{family}.block_count"],
                "num_heads": heads,
                "num_kv_heads": fields.get(f"{family}.attention.head_count_kv", heads),
                "head_dim": fields.get(f"{family}.attention.key_length", width // heads),
                "context_length": fields[f"{family}.context_length"],
                "rope_theta": fields.get(f"{family}.rope.freq_base", 10_000.0),
                "rms_norm_eps": fields[f"{family}.attention.layer_norm_rms_epsilon"],
                "tie_embeddings": "output.weight" not in file,
            }
        )
    except (KeyError, ZeroDivisionError, TypeError, IndexError) as error:
        raise Damaged(
            f"{file.path} lacks a setting: {error}.", remedy="Fetch the file again."
        ) from None


def _our_name(name: str) -> str:
    parts = name.removesuffix(".weight").split(".")
    prefix = f"layers.{parts[1]}." if parts[0] == "blk" and len(parts) == 3 else ""
    return f"{prefix}{NAMES.get(parts[-1], parts[-1])}.weight"


def _unpermute(
    rows: np.ndarray[Any, np.dtype[np.float32]], heads: int
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """llama files hold rotary pairs as neighbours; ours lie half a head apart."""
    pairs = rows.reshape(heads, -1, 2, rows.shape[-1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def _template(fields: dict[str, Any], tokenizer: Tokenizer) -> ChatTemplate | None:
    source = fields.get("tokenizer.chat_template")
    if source is None:
        return None
    tokens = fields["tokenizer.ggml.tokens"]

    def name(key: str) -> str:
        index = fields.get(f"tokenizer.ggml.{key}_token_id")
        return tokens[index] if isinstance(index, int) and index < len(tokens) else ""

    return ChatTemplate(source, tokenizer, name("bos"), name("eos"))


def _end_ids(fields: dict[str, Any]) -> frozenset[int]:
    keys = ("eos", "eot", "eom")
    ids = (fields.get(f"tokenizer.ggml.{key}_token_id") for key in keys)
    return frozenset(index for index in ids if index is not None)
