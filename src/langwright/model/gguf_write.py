"""Writing a model as a GGUF file, as llama.cpp's own converter lays it out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from langwright.errors import BadInput, Unsupported, suggest
from langwright.model.architecture import Architecture
from langwright.model.bundle import ModelBundle
from langwright.model.families.gguf_names import ARCHITECTURES, GGUFNames
from langwright.model.gguf_file import GGUFFile
from langwright.model.gguf_settings import architecture
from langwright.model.quantised import whole_weights
from langwright.model.rotary import Rotary
from langwright.progress import say
from langwright.tokens import ChatTemplate, gguf_fields

Values = np.ndarray[Any, np.dtype[Any]]

DTYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
"""What the matrices may be written in."""
_FILE_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q8_0": 7,
    "q5_0": 8,
    "q5_1": 9,
    "bf16": 32,
}
_EXPERT = ("gate_proj", "up_proj", "down_proj")
_GENERATION = re.compile(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}")


def save_gguf(path: Path, model: ModelBundle, dtype: str = "f32", name: str | None = None) -> None:
    """Write weights, settings, tokenizer and chat template into one file.

    Matrices take `dtype`, one of `DTYPES`; vectors, learned positions and routers stay float32, and
    with 4 or 5 bits the table and the head take q8_0, which they suffer most from. A row that is no
    multiple of 32 values long cannot be quantised: such a matrix takes f16, and that is said.

    Raises `Unsupported` for what no GGUF file of the family can say, `BadInput` for another dtype.
    """
    import gguf

    if dtype not in DTYPES:
        raise BadInput(f"'{dtype}' is no type of a GGUF file.", remedy=suggest(dtype, DTYPES))
    shape = model.module.shape
    arch, known = _architecture(shape)
    writer = gguf.GGUFWriter(path, arch)
    fields = {
        "general.type": "model",
        "general.name": name or path.stem,
        "general.file_type": _FILE_TYPES[dtype],
        "general.quantization_version": 2,
        **({"general.license": model.licence} if model.licence else {}),
        **{f"{arch}.{key}": value for key, value in _settings(arch, shape).items()},
        **_vocabulary(model),
    }
    for key, value in fields.items():
        _add(writer, key, value)
    for tensor in _tensors(model, known):
        kind = kind_of(tensor.ours, tensor.values.shape, dtype)
        if kind == "f16" and dtype.startswith("q"):
            say(f"{tensor.name} is written in f16: its rows are no multiple of 32 long.")
        block, size = gguf.GGML_QUANT_SIZES[_ggml(kind)]
        raw = (*tensor.values.shape[:-1], tensor.values.shape[-1] // block * size)
        writer.add_tensor_info(
            tensor.name, raw, np.dtype(np.uint8), math.prod(raw), raw_dtype=_ggml(kind)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in _tensors(model, known):  # one at a time: there may be no room for all
        writer.write_tensor_data(quantised(tensor.ours, tensor.values, dtype))
    writer.close()
    _check(GGUFFile(path), shape)


def rounded(ours: str, values: Values, *, dtype: str) -> Values:
    """The float32 values that a reader has of the tensor `ours` (our name) written as `dtype`."""
    import gguf

    kind = _ggml(kind_of(ours, values.shape, dtype))
    found: Values = gguf.quants.dequantize(quantised(ours, values, dtype), kind)
    return found.astype(np.float32, copy=False).reshape(values.shape)


def quantised(ours: str, values: Values, dtype: str) -> Values:
    """The bytes of the tensor `ours` (our name) written as `dtype`."""
    import gguf

    kind = _ggml(kind_of(ours, values.shape, dtype))
    found: Values = gguf.quants.quantize(np.ascontiguousarray(values), kind)
    return found


def _ggml(kind: str) -> Any:
    import gguf

    return gguf.GGMLQuantizationType[kind.upper()]


def _architecture(shape: Architecture) -> tuple[str, GGUFNames]:
    for arch, known in ARCHITECTURES.items():
        if known.family == shape.family:
            return arch, known
    raise Unsupported(
        f"llama.cpp has no family '{shape.family}'.",
        remedy="Export to a Hugging Face folder (--to hf).",
    )


def _settings(arch: str, shape: Architecture) -> dict[str, Any]:
    """The fields `ARCH.*`."""
    eps = "layer_norm_epsilon" if arch == "gpt2" else "layer_norm_rms_epsilon"
    values: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "context_length": shape.context_length,
        "embedding_length": shape.hidden_size,
        "block_count": shape.num_layers,
        "feed_forward_length": shape.intermediate_size,
        "attention.head_count": shape.num_heads,
        "attention.head_count_kv": shape.num_kv_heads,
        f"attention.{eps}": shape.norm_eps,
    }
    if shape.num_experts:
        values["expert_count"] = shape.num_experts
        values["expert_used_count"] = shape.experts_per_token
        values["expert_feed_forward_length"] = shape.expert_size
    if shape.positions != "rotary":
        return values
    values |= {
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "rope.dimension_count": shape.head_dim,
        "rope.freq_base": shape.rope_theta,
    }
    if shape.local_rope_theta is not None:
        values["rope.freq_base_swa"] = shape.local_rope_theta
    if shape.sliding_window is not None and arch == "gemma3":
        values["attention.sliding_window"] = shape.sliding_window
    if shape.logit_softcap is not None:
        values["final_logit_softcapping"] = shape.logit_softcap
    scaling = shape.rope_scaling
    if scaling is not None and scaling.kind != "llama3":  # which is a tensor: the divisors
        values |= {"rope.scaling.type": scaling.kind, "rope.scaling.factor": scaling.factor}
        if scaling.original_context is not None:
            values["rope.scaling.original_context_length"] = scaling.original_context
    return values


def _vocabulary(model: ModelBundle) -> dict[str, Any]:
    """The tokenizer, the tokens that begin and end, and the chat template."""
    tokenizer, template = model.tokenizer, model.template
    special = tokenizer.special
    ends = sorted(model.end_ids, reverse=True)
    if template is not None and special.get(template.eos) in model.end_ids:
        ends.sort(key=lambda end: end != special[template.eos])
    if len(ends) > 3:
        raise Unsupported(
            f"The model has {len(ends)} tokens that end an answer; a GGUF file names three.",
            remedy="Name fewer in eos_token_id.",
        )
    start = model.start_id
    if start is None and template is not None:
        start = special.get(template.bos)
    fields = {
        **gguf_fields(tokenizer, model.module.shape.vocab_size),
        "tokenizer.ggml.add_bos_token": model.start_id is not None,
        "tokenizer.ggml.add_eos_token": False,
    }
    for key, end in zip(("eos", "eot", "eom"), ends, strict=False):
        fields[f"tokenizer.ggml.{key}_token_id"] = end
    if start is not None:
        fields["tokenizer.ggml.bos_token_id"] = start
    if template is not None:
        fields["tokenizer.chat_template"] = _without_marks(template)
    return fields


def _without_marks(template: ChatTemplate) -> str:
    """The template without `{% generation %}`, which llama.cpp does not know."""
    return _GENERATION.sub(
        lambda mark: f"{{%{mark[1]} {'endif' if mark[2] else 'if true'} {mark[3]}%}}",
        template.source,
    )


class _Tensor(NamedTuple):
    """`name` is llama.cpp's, `ours` ours; `values` lie as it has them, in float32."""

    name: str
    ours: str
    values: Values


def _tensors(model: ModelBundle, known: GGUFNames) -> Iterator[_Tensor]:
    module, shape = model.module, model.module.shape
    theirs = {ours: name for name, ours in known.names.items()}
    fused = "self_attn.qkv" in theirs
    weights = whole_weights(module)
    scaling = shape.rope_scaling
    if scaling is not None and scaling.kind == "llama3":
        plain = Rotary(shape.head_dim, shape.rope_theta).frequencies
        yield _Tensor("rope_freqs.weight", "", (plain / module.rotary.frequencies).numpy())
    for key, weight in weights.items():
        if ".experts." in key:
            continue  # below, those of a layer in one tensor
        part, _, end = key.rpartition(".")
        found = re.fullmatch(r"layers\.([0-9]+)\.(.+)", part)
        layer, inside = (f"blk.{found[1]}.", found[2]) if found else ("", part)
        values: Values = weight.float().numpy()
        if fused and inside in ("self_attn.k_proj", "self_attn.v_proj"):
            continue  # behind the queries, in one tensor with them
        if fused and inside == "self_attn.q_proj":
            inside = "self_attn.qkv"
            parts = [weights[key.replace("q_proj", f"{one}_proj")].float() for one in "qkv"]
            values = torch.cat(parts).numpy()
        elif known.neighbours and inside in ("self_attn.q_proj", "self_attn.k_proj"):
            heads = shape.num_heads if inside == "self_attn.q_proj" else shape.num_kv_heads
            values = permute(values, heads)
        if shape.norm_offset and key.endswith("norm.weight"):
            values = values + np.float32(shape.norm_offset)  # llama.cpp holds them whole
        yield _Tensor(f"{layer}{theirs[inside]}.{end}", key, values)
    for number, part in product(range(shape.num_layers if shape.num_experts else 0), _EXPERT):
        path = f"layers.{number}.mlp.experts"
        each = [weights[f"{path}.{one}.{part}.weight"] for one in range(shape.num_experts)]
        name, stack = theirs[f"mlp.experts.{part}"], torch.stack(each).float().numpy()
        yield _Tensor(f"blk.{number}.{name}.weight", f"{path}.{part}.weight", stack)


def permute(rows: Values, heads: int) -> Values:
    """Rotary pairs beside each other, where ours lie half a head apart (ROPE_TYPE_NORM)."""
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def kind_of(ours: str, shape: tuple[int, ...], dtype: str) -> str:
    """What a tensor is written in."""
    if len(shape) == 1 or ours == "embed_positions.weight" or ours.endswith(".mlp.gate.weight"):
        return "f32"
    if dtype[:2] in ("q4", "q5") and ours in ("embed_tokens.weight", "lm_head.weight"):
        dtype = "q8_0"
    return "f16" if dtype.startswith("q") and shape[-1] % 32 else dtype


def _add(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif value:  # an empty list has no type
        writer.add_array(key, value)


def _check(file: GGUFFile, shape: Architecture) -> None:
    """Raises `Unsupported` where the file does not say all that the settings do."""
    found, asked = (_flat(one.model_dump()) for one in (architecture(file), shape))
    for key in sorted(asked.keys() | found.keys()):
        if not _same(found.get(key), asked.get(key)):
            raise Unsupported(
                f"A GGUF file of the family {shape.family} cannot say {key}={asked.get(key)!r}: it"
                f" would be read as {found.get(key)!r}.",
                remedy="Export to a Hugging Face folder (--to hf).",
            )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _same(found: Any, asked: Any) -> bool:
    if isinstance(found, float) and isinstance(asked, float):  # the file holds 32 bits
        return math.isclose(found, asked, rel_tol=1e-6)
    return bool(found == asked)
