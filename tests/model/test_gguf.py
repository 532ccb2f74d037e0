from __future__ import annotations

import random
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType as Value

from langwright.errors import BadInput, Damaged, LangwrightError, NotFound, Unsupported
from langwright.model import ModelBundle, load_gguf, load_model
from langwright.model.families.gguf_names import COMMON as NAMES
from langwright.model.gguf_file import GGUFFile

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]
THEIR_NAME = {ours: theirs for theirs, ours in NAMES.items()}
LARGE = {"hidden_size": 64, "head_dim": 32, "intermediate_size": 96}


def their_name(name: str) -> str:
    part = name.removesuffix(".weight")
    if part.startswith("layers."):
        _, layer, rest = part.split(".", 2)
        return f"blk.{layer}.{THEIR_NAME[rest]}.weight"
    return f"{THEIR_NAME[part]}.weight"


def permute(rows: np.ndarray, heads: int) -> np.ndarray:  # type: ignore[type-arg]
    """As llama.cpp's convert_hf_to_gguf.py does with q and k of the llama family."""
    pairs = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def fields_of(model: ModelBundle) -> dict[str, Any]:
    shape, tokenizer = model.module.shape, model.tokenizer
    family = shape.family
    ids = {**tokenizer.spec["model"]["vocab"], **tokenizer.special}
    tokens = sorted(ids, key=lambda token: ids[token])
    tokens += [f"[PAD{index}]" for index in range(len(tokens), shape.vocab_size)]
    return {
        f"{family}.block_count": shape.num_layers,
        f"{family}.context_length": shape.context_length,
        f"{family}.embedding_length": shape.hidden_size,
        f"{family}.feed_forward_length": shape.intermediate_size,
        f"{family}.attention.head_count": shape.num_heads,
        f"{family}.attention.head_count_kv": shape.num_kv_heads,
        f"{family}.attention.key_length": shape.head_dim,
        f"{family}.attention.value_length": shape.head_dim,
        f"{family}.rope.dimension_count": shape.head_dim,
        f"{family}.rope.freq_base": shape.rope_theta,
        f"{family}.attention.layer_norm_rms_epsilon": shape.norm_eps,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [
            3 if token in tokenizer.special else 5 if token.startswith("[PAD") else 1
            for token in tokens
        ],
        "tokenizer.ggml.merges": [
            " ".join(merge) if isinstance(merge, list) else merge
            for merge in tokenizer.spec["model"]["merges"]
        ],
        "tokenizer.ggml.eos_token_id": min(model.end_ids),
        "tokenizer.chat_template": model.template.source if model.template else "",
    }


def write(
    path: Path,
    model: ModelBundle,
    kind: Type = Type.F32,
    fields: dict[str, Any] | None = None,
    drop: str = "",
    tensors: dict[str, np.ndarray] | None = None,  # type: ignore[type-arg]
) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Write `model` by llama.cpp's own package; returns the tensors as ours, after rounding."""
    shape = model.module.shape
    writer = gguf.GGUFWriter(path, shape.family)
    for key, value in (fields_of(model) | (fields or {})).items():
        if key == drop:
            continue
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            types = {bool: Value.BOOL, int: Value.UINT32, float: Value.FLOAT32, str: Value.STRING}
            writer.add_key_value(key, value, types[type(value)])
    rounded = {}
    for name, parameter in model.module.named_parameters():
        values = parameter.numpy()
        if shape.family == "llama" and ".q_proj" in name:
            values = permute(values, shape.num_heads)
        if shape.family == "llama" and ".k_proj" in name:
            values = permute(values, shape.num_kv_heads)
        used = kind if values.ndim == 2 else Type.F32
        raw = gguf.quants.quantize(values, used)
        if their_name(name) != drop:
            writer.add_tensor(their_name(name), raw, raw_dtype=used)
        # Quantising goes along rows, so it is the same before and after the permutation.
        rounded[name] = gguf.quants.dequantize(gguf.quants.quantize(parameter.numpy(), used), used)
    for name, values in (tensors or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return rounded


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_1])
@pytest.mark.parametrize(
    "settings",
    [
        {"family": "llama"} | LARGE,
        {"family": "llama", "num_kv_heads": 4, "tie_embeddings": False} | LARGE,
        {"family": "qwen3", "tie_embeddings": False, "rope_theta": 1e6} | LARGE,
    ],
    ids=["llama", "llama-untied", "qwen3"],
)
def test_what_llama_cpps_writer_wrote_is_read_back_equal(
    make_model: Make, tmp_path: Path, kind: Type, settings: dict[str, Any]
) -> None:
    ours = make_model(9, **settings)
    rounded = write(tmp_path / "model.gguf", ours, kind)
    again = load_model(tmp_path)
    assert again.module.shape == ours.module.shape.model_copy(
        update={"norm_eps": again.module.shape.norm_eps}
    )
    assert again.module.shape.norm_eps == pytest.approx(1e-6)
    for name, parameter in again.module.named_parameters():
        assert np.array_equal(parameter.numpy(), rounded[name]), name
    if kind is Type.F32:
        ids = torch.arange(20)[None]
        assert torch.allclose(again.module(ids), ours.module(ids), atol=1e-5)
    text = "the fox, 12 你好🙂 <|im_end|>"
    assert again.tokenizer.encode(text) == ours.tokenizer.encode(text)
    assert again.tokenizer.special == ours.tokenizer.special
    assert again.end_ids == ours.end_ids
    assert again.start_id is None
    messages = [{"role": "user", "content": text}]
    assert again.template is not None
    assert ours.template is not None
    assert again.template.encode(messages) == ours.template.encode(messages)


def test_the_token_that_begins_a_text_is_read(make_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    begin = {"tokenizer.ggml.bos_token_id": 304, "tokenizer.ggml.add_bos_token": True}
    template = {"tokenizer.chat_template": "{{ bos_token }}{{ eos_token }}"}
    write(path, make_model(), fields=begin | template)
    model = load_gguf(path)
    assert model.start_id == 304
    assert model.template is not None
    assert model.template.encode([]) == [304, min(model.end_ids)]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"llama.rope.scaling.type": "yarn"}, Damaged),
        (
            {"llama.rope.scaling.type": "longrope", "llama.rope.scaling.factor": 4.0},
            Unsupported,
        ),
        ({"llama.rope.dimension_count": 8}, Unsupported),
        ({"llama.attention.value_length": 8}, Unsupported),
        ({"llama.attention.sliding_window": 512}, Unsupported),
        ({"llama.expert_count": 8}, Unsupported),
        ({"tokenizer.ggml.pre": "unheard-of"}, Unsupported),
        ({"tokenizer.ggml.model": "rwkv"}, Unsupported),
        ({"llama.block_count": 3}, BadInput),
        ({"llama.block_count": 1}, BadInput),
        ({"llama.block_count": 2**31 - 1}, BadInput),
        ({"llama.block_count": 2**32 - 1}, LangwrightError),
        ({"llama.attention.head_count": 0}, LangwrightError),
        ({"llama.attention.head_count": [4, 4]}, LangwrightError),
        ({"llama.attention.head_count": 6, "llama.attention.head_count_kv": 3}, LangwrightError),
        ({"llama.attention.head_count_kv": 0}, LangwrightError),
        ({"llama.embedding_length": 2**31 - 1}, LangwrightError),
        ({"llama.feed_forward_length": 2**31 - 1}, BadInput),
        ({"llama.attention.key_length": 2**31 - 2}, LangwrightError),
        ({"llama.rope.freq_base": float("nan")}, LangwrightError),
        ({"llama.rope.freq_base": 0.0}, LangwrightError),
        ({"llama.attention.layer_norm_rms_epsilon": float("inf")}, LangwrightError),
        ({"tokenizer.ggml.eos_token_id": 320}, Damaged),
        ({"tokenizer.ggml.eos_token_id": 1.5}, Damaged),
        ({"tokenizer.ggml.bos_token_id": 320, "tokenizer.ggml.add_bos_token": True}, Damaged),
        ({"tokenizer.chat_template": "{% if %}"}, Damaged),
        ({"tokenizer.chat_template": 5}, Damaged),
        ({"tokenizer.ggml.tokens": ["a", "b"]}, Damaged),
        ({"tokenizer.ggml.merges": ["no such"]}, Damaged),
        ({"general.alignment": 0}, Damaged),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(
    make_model: Make, tmp_path: Path, fields: dict[str, Any], error: type[LangwrightError]
) -> None:
    path = tmp_path / "model.gguf"
    write(path, make_model(family="llama"), fields=fields)
    with pytest.raises(error):
        load_gguf(path)


@pytest.mark.parametrize(
    ("drop", "match"),
    [
        ("blk.1.ffn_up.weight", "lacks.*layers.1.mlp.up_proj"),
        ("token_embd.weight", "token_embd"),
        ("llama.attention.head_count", "attention.head_count"),
        ("llama.attention.layer_norm_rms_epsilon", "epsilon"),
        ("tokenizer.ggml.model", "tokenizer"),
        ("tokenizer.ggml.tokens", "token lists"),
    ],
)
def test_what_is_missing_is_named(make_model: Make, tmp_path: Path, drop: str, match: str) -> None:
    path = tmp_path / "model.gguf"
    write(path, make_model(family="llama"), drop=drop)
    with pytest.raises(LangwrightError, match=match):
        load_gguf(path)


@pytest.mark.parametrize(
    "name",
    [
        "blk.0.attn_q.bias",
        "blk.7.attn_q.weight",
        "blk.0.ffn_gate_inp.weight",
        "embed_tokens.weight",
    ],
)
def test_an_unknown_tensor_is_named(make_model: Make, tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    values = np.ones((320 if "embed" in name else 64, 32), np.float32)
    write(path, make_model(family="llama"), tensors={name: values})
    ours = {
        "blk.0.attn_q.bias": r"layers\.0\.self_attn\.q_proj\.bias",
        "blk.7.attn_q.weight": r"layers\.7\.",
    }
    with pytest.raises(BadInput, match=ours.get(name, name)):
        load_gguf(path)


def test_weights_that_are_not_numbers_are_refused(make_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for kind in (Type.F32, Type.F16):
        model = make_model()
        model.module.layers[1].mlp.up_proj.weight[2, 3] = float("nan")
        write(path, model, kind)
        with pytest.raises(BadInput, match=r"layers.1.mlp.up_proj.*not numbers"):
            load_gguf(path)


def test_a_file_cut_anywhere_is_an_error_for_people(make_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write(path, make_model(family="llama"))
    whole = path.read_bytes()
    dice = random.Random(0)
    lengths = [0, 1, 4, 8, 23, 24, *(dice.randrange(len(whole) - 32) for _ in range(50))]
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(LangwrightError):
            load_gguf(path)


def test_flipped_bytes_never_crash_hang_or_take_memory(make_model: Make, tmp_path: Path) -> None:
    """A flip may go unnoticed (in a name, a merge); whatever is noticed is an error for people."""
    path = tmp_path / "model.gguf"
    write(path, make_model(family="llama"))
    whole = path.read_bytes()
    header = whole.index(b"output_norm.weight") + 4000
    infos = whole.index(b"token_embd.weight") - 8
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    dice = random.Random(1)
    refused = 0
    for case in range(240):
        altered = bytearray(whole)
        low, high = ((0, 900), (infos, header), (0, header))[case % 3]
        for _ in range(dice.choice([1, 1, 3])):
            altered[dice.randrange(low, high)] = dice.choice(
                [0, 1, 127, 128, 255, dice.randrange(256)]
            )
        path.write_bytes(altered)
        try:
            load_gguf(path)
        except LangwrightError:
            refused += 1
    assert refused > 100
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert kilobytes < 400_000


def text(value: str | bytes) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(value)) + value


def info(name: str, dimensions: list[int], kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


def header(tensors: list[bytes], fields: list[bytes], **other: int) -> bytes:
    counts = (other.get("num_tensors", len(tensors)), other.get("num_fields", len(fields)))
    start = b"GGUF" + struct.pack("<IQQ", other.get("version", 3), *counts)
    whole = start + b"".join(fields) + b"".join(tensors)
    return whole + b"\0" * (-len(whole) % 32) + bytes(256)


def field(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def integer(value: int) -> bytes:
    return struct.pack("<Q", value)


HOSTILE_HEADERS = {
    "not GGUF": b"GGML" + bytes(60),
    "big-endian": header([], [], version=0x03000000),
    "version 1": header([], [], version=1),
    "many tensors": header([], [], num_tensors=2**64 - 1),
    "many fields": header([], [], num_fields=2**63),
    "a long key": header([], [struct.pack("<Q", 2**64 - 1)], num_fields=1),
    "a key that is not UTF-8": header([], [field(b"\xff\xfe", 4, bytes(4))]),
    "a long string": header([], [field("k", 8, integer(2**63))]),
    "an unknown kind": header([], [field("k", 13, bytes(8))]),
    "a long array": header([], [field("k", 9, struct.pack("<IQ", 4, 2**62))]),
    "an array of many strings": header([], [field("k", 9, struct.pack("<IQ", 8, 2**61))]),
    "an array of an unknown kind": header([], [field("k", 9, struct.pack("<IQ", 77, 1))]),
    "arrays in arrays": header([], [field("k", 9, struct.pack("<IQ", 9, 1) * 90)]),
    "a key twice": header([], [field("k", 4, bytes(4)), field("k", 4, bytes(4))]),
    "a tensor twice": header([info("t", [8]), info("t", [8])], []),
    "alignment 0": header([info("t", [8])], [field("general.alignment", 4, bytes(4))]),
    "alignment -8": header([info("t", [8])], [field("general.alignment", 11, integer(2**64 - 8))]),
    "alignment 2^63": header([info("t", [8])], [field("general.alignment", 10, integer(2**63))]),
    "alignment true": header([info("t", [8])], [field("general.alignment", 7, b"\1")]),
    "alignment as text": header([info("t", [8])], [field("general.alignment", 8, text("32"))]),
    "alignment not a number": header(
        [info("t", [8])], [field("general.alignment", 6, struct.pack("<f", float("nan")))]
    ),
    "far away": header([info("t", [8], offset=2**64 - 32)], []),
    "beyond the end": header([info("t", [8], offset=256)], []),
    "no rows": header([info("t", [8, 0])], []),
    "no columns": header([info("t", [0, 2**63])], []),
    "wraps to 0": header([info("t", [2**32, 2**32])], []),
    "wraps to 8": header([info("t", [8, 2**61 + 1])], []),
    "minus 8": header([info("t", [2**64 - 8])], []),
    "five dimensions": header([info("t", [1, 1, 1, 1, 8])], []),
    "2^32 - 1 dimensions": header([text("t") + b"\xff" * 4 + bytes(40)], []),
    "an unknown type": header([info("t", [32], kind=999)], []),
    "a type no longer there": header([info("t", [32], kind=4)], []),
    "a type that is not read": header([info("t", [8], kind=28)], []),
    "half a block": header([info("t", [33], kind=8)], []),
}


@pytest.mark.parametrize("content", HOSTILE_HEADERS.values(), ids=HOSTILE_HEADERS.keys())
def test_hostile_headers_are_errors_for_people(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    with pytest.raises((Damaged, Unsupported)):
        GGUFFile(path).tensor("t")
    with pytest.raises(LangwrightError):
        load_gguf(path)


def test_a_sound_header_of_the_same_make_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sound.gguf"
    path.write_bytes(header([info("t", [4, 2])], [field("general.alignment", 4, integer(32)[:4])]))
    assert GGUFFile(path).tensor("t").shape == (2, 4)


def test_what_is_no_file_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_gguf(tmp_path / "nowhere.gguf")
    with pytest.raises(BadInput):
        load_gguf(tmp_path)
