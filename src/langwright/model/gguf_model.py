"""A model out of a GGUF file."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from langwright.errors import BadInput, Damaged
from langwright.model.architecture import Architecture
from langwright.model.blocks import Blocks
from langwright.model.bundle import ModelBundle, decoder_from
from langwright.model.families.family import apart
from langwright.model.families.gguf_names import ARCHITECTURES
from langwright.model.gguf_file import GGUFFile
from langwright.model.gguf_settings import architecture
from langwright.model.quantised import Held, held, of_blocks
from langwright.model.text_parts import TextParts
from langwright.tokens import ChatTemplate, Tokenizer, tokenizer_from_gguf


def load_gguf(path: Path, dtype: str = "float32") -> ModelBundle:
    """Read a GGUF file of a known family, with tokenizer and template, its weights held as `dtype`
    (one of `quantised.DTYPES`); `auto` keeps blocks of Q8_0, Q4_0 and Q4_1 as they are, and all
    else in bfloat16, unless the file is in float32."""
    file = GGUFFile(path)
    shape = architecture(file)
    parts = text_of(file)
    module = decoder_from(shape, _weights(file, shape, dtype))
    licence = file.fields.get("general.license")
    return ModelBundle(
        module,
        parts.tokenizer,
        parts.template,
        parts.end_ids,
        parts.start_id,
        licence if isinstance(licence, str) else None,
    )


def text_of(file: GGUFFile) -> TextParts:
    """Tokenizer, template, end and start tokens; of any family."""
    tokenizer = tokenizer_from_gguf(file.fields)
    ends = (_token_id(file, key) for key in ("eos", "eot", "eom"))
    begins = file.fields.get("tokenizer.ggml.add_bos_token", False)
    return TextParts(
        tokenizer,
        _template(file, tokenizer),
        frozenset(token for token in ends if token is not None),
        _token_id(file, "bos") if begins else None,
    )


def _weights(file: GGUFFile, shape: Architecture, dtype: str) -> dict[str, Held]:
    """The tensors by our names, in our layout, held as `dtype`."""
    known = ARCHITECTURES[file.fields["general.architecture"]]
    as_stored = dtype == "auto"
    if as_stored:
        exact = all(file.type_name(name) == "F32" for name in file)
        dtype = "float32" if exact else "bfloat16"
    weights: dict[str, Held] = {}
    for name in file:
        if name == "rope_freqs.weight":  # said by the settings
            continue
        match = re.fullmatch(r"(?:blk\.([0-9]+)\.)?(\w+)\.(weight|bias)", name)
        if match is None or match[2] not in known.names:
            raise BadInput(
                f"{file.path} has the tensor '{name}', which the family {shape.family} does not"
                " know.",
                remedy="Fetch the model again, or use another.",
            )
        layer = f"layers.{match[1]}." if match[1] else ""
        ours = f"{layer}{known.names[match[2]]}.{match[3]}"
        blocks = file.blocks(name) if as_stored else None
        # Of blocks the bytes: rows change their places as they are.
        values = torch.from_numpy(file.tensor(name)) if blocks is None else blocks.raw_NW
        if known.neighbours and match[2] in ("attn_q", "attn_k"):
            heads = shape.num_heads if match[2] == "attn_q" else shape.num_kv_heads
            values = _unpermute(file, name, values, heads)
        if shape.norm_offset and ours.endswith("norm.weight"):
            values = values - shape.norm_offset  # llama.cpp holds them whole
        parts = {ours: values}
        if match[2] == "attn_qkv":
            names = (ours.replace("qkv", f"{part}_proj") for part in "qkv")
            parts = dict(zip(names, values.tensor_split(3), strict=True))
        elif ".experts." in ours:
            if values.shape[:1] != (shape.num_experts,):
                raise Damaged(
                    f"{file.path} has '{name}' in the shape {list(values.shape)} for"
                    f" {shape.num_experts} experts.",
                    remedy="Fetch the file again.",
                )
            parts = apart(ours, values)
        for ours, one in parts.items():
            weights[ours] = (
                held(ours, one, dtype)
                if blocks is None
                else of_blocks(Blocks(one.contiguous(), blocks.kind))
            )
    return weights


def _unpermute(file: GGUFFile, name: str, rows: torch.Tensor, heads: int) -> torch.Tensor:
    """llama files hold rotary pairs as neighbours; ours lie half a head apart."""
    if rows.dim() != 2 or rows.shape[0] % (2 * heads):
        raise Damaged(
            f"{file.path} has '{name}' in the shape {list(rows.shape)} for {heads} heads.",
            remedy="Fetch the file again.",
        )
    pairs = rows.reshape(heads, -1, 2, rows.shape[-1])
    return pairs.transpose(1, 2).reshape(rows.shape)


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
