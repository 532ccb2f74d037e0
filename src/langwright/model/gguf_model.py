"""A model out of a GGUF file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from langwright.errors import BadInput, Damaged, Unsupported
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
    weights: dict[str, torch.Tensor] = {}
    for name in file:
        ours = _our_name(name)
        if ours is None:
            raise BadInput(
                f"{path} has the tensor '{name}', which the family {shape.family} does not know.",
                remedy="Fetch the model again, or use another.",
            )
        values = file.tensor(name)
        if shape.family == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
            heads = shape.num_heads if name.endswith("attn_q.weight") else shape.num_kv_heads
            values = _unpermute(file, name, values, heads)
        weights[ours] = torch.from_numpy(values)
    module = decoder_from(shape, weights)
    fields, licence = file.fields, file.fields.get("general.license")
    ends = (_token_id(file, key) for key in ("eos", "eot", "eom"))
    return ModelBundle(
        module,
        tokenizer,
        _template(file, tokenizer),
        frozenset(token for token in ends if token is not None),
        _token_id(file, "bos") if fields.get("tokenizer.ggml.add_bos_token", False) else None,
        licence if isinstance(licence, str) else None,
    )


def _architecture(file: GGUFFile) -> Architecture:
    fields = file.fields
    family = fields.get("general.architecture")
    if family not in ("llama", "qwen3"):
        raise Unsupported(
            f"{file.path} holds the family '{family}', which is not built.",
            remedy="Known: llama, qwen3.",
        )
    scaled = fields.get(f"{family}.rope.scaling.type", "none") != "none"
    scaled |= fields.get(f"{family}.rope.scale_linear", 1.0) != 1.0
    if scaled or "rope_freqs.weight" in file.tensors:
        raise Unsupported(
            f"{file.path} asks for rope scaling, which is not built.",
            remedy="Use a model without it.",
        )
    try:
        heads = fields[f"{family}.attention.head_count"]
        width = fields[f"{family}.embedding_length"]
        table = file.tensors["token_embd.weight"]
        head_dim = fields.get(f"{family}.attention.key_length", width // heads)
        for field, only in (
            ("rope.dimension_count", head_dim),
            ("attention.value_length", head_dim),
            ("attention.sliding_window", 0),
            ("expert_count", 0),
        ):
            if fields.get(f"{family}.{field}", only) != only:
                raise Unsupported(
                    f"{file.path} has {family}.{field} = {fields[f'{family}.{field}']}; only "
                    f"{only} is built.",
                    remedy="Use a model without it.",
                )
        return Architecture.build(
            {
                "family": family,
                "vocab_size": table.shape[0],
                "hidden_size": width,
                "intermediate_size": fields[f"{family}.feed_forward_length"],
                "num_layers": fields[f"{family}.block_count"],
                "num_heads": heads,
                "num_kv_heads": fields.get(f"{family}.attention.head_count_kv", heads),
                "head_dim": head_dim,
                "context_length": fields[f"{family}.context_length"],
                "rope_theta": fields.get(f"{family}.rope.freq_base", 10_000.0),
                "rms_norm_eps": fields[f"{family}.attention.layer_norm_rms_epsilon"],
                "tie_embeddings": "output.weight" not in file.tensors,
            }
        )
    except (KeyError, ZeroDivisionError, TypeError, IndexError) as error:
        raise Damaged(
            f"{file.path} lacks a setting: {error}.", remedy="Fetch the file again."
        ) from None


def _our_name(name: str) -> str | None:
    match = re.fullmatch(r"(?:blk\.([0-9]+)\.)?(\w+)\.weight", name)
    if match is None or match[2] not in NAMES:
        return None
    prefix = f"layers.{match[1]}." if match[1] else ""
    return f"{prefix}{NAMES[match[2]]}.weight"


def _unpermute(
    file: GGUFFile, name: str, rows: np.ndarray[Any, np.dtype[np.float32]], heads: int
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """llama files hold rotary pairs as neighbours; ours lie half a head apart."""
    if rows.ndim != 2 or rows.shape[0] % (2 * heads):
        raise Damaged(
            f"{file.path} has '{name}' in the shape {list(rows.shape)} for {heads} heads.",
            remedy="Fetch the file again.",
        )
    pairs = rows.reshape(heads, -1, 2, rows.shape[-1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def _template(file: GGUFFile, tokenizer: Tokenizer) -> ChatTemplate | None:
    source = file.fields.get("tokenizer.chat_template")
    if source is None:
        return None
    tokens = file.fields["tokenizer.ggml.tokens"]
    bos, eos = (_token_id(file, key) for key in ("bos", "eos"))
    return ChatTemplate(
        source,
        tokenizer,
        "" if bos is None else tokens[bos],
        "" if eos is None else tokens[eos],
    )


def _token_id(file: GGUFFile, key: str) -> int | None:
    token = file.fields.get(f"tokenizer.ggml.{key}_token_id")
    if token is None:
        return None
    if type(token) is not int or not 0 <= token < len(file.fields["tokenizer.ggml.tokens"]):
        raise Damaged(
            f"{file.path} has the {key} token {token!r}, which is not in its vocabulary.",
            remedy="Fetch the file again.",
        )
    return token
