"""Files of every family that llama.cpp's converter would write: our logits are llama.cpp's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import gguf
import numpy as np
import pytest
import torch

from langwright.model import Architecture, Decoder, load_gguf
from langwright.model.families.gguf_names import ARCHITECTURES

VOCAB = 64
SIZES = {
    "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_layers": 8,
    "num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "context_length": 128,
}  # fmt: skip
WINDOW = 8
CASES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, untied": {"tie_embeddings": False},
    "llama, linear": {"rope_scaling": {"kind": "linear", "factor": 4.0}},
    "llama, yarn": {"rope_scaling": {"kind": "yarn", "factor": 4.0, "original_context": 32}},
    "llama, scaled as 3.1": {
        "rope_theta": 500_000.0,
        "rope_scaling": {"kind": "llama3", "factor": 8.0, "original_context": 8192},
    },
    "arcee": {},
    "smollm3": {"unrotated_layers": (3, 7)},
    "qwen2": {},
    "qwen3": {},
    "qwen3moe": {"num_experts": 6, "experts_per_token": 2, "expert_size": 32},
    "gemma3": {
        "rope_theta": 1_000_000.0,
        "local_rope_theta": 10_000.0,
        "rope_scaling": {"kind": "linear", "factor": 8.0},
        "sliding_window": WINDOW,
        "sliding_layers": (0, 1, 2, 3, 4, 6, 7),
        "attention_scale": 0.25,
    },
    "gpt2": {"num_kv_heads": 4, "norm_eps": 1e-5},
}
TOKENS = [*(f"<{number}>" for number in range(VOCAB - 3)), "a", "b", "ab"]
IDS = torch.randint(3, VOCAB, (24,), generator=torch.Generator().manual_seed(1)).tolist()


def model_of(name: str) -> Decoder:
    arch = name.partition(",")[0]
    family = ARCHITECTURES[arch].family
    module = Decoder(Architecture.build({**SIZES, "family": family, **CASES[name]}))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            base = 1.0 - module.shape.norm_offset if key.endswith("norm.weight") else 0.0
            parameter.copy_(base + noise * (0.1 if parameter.dim() == 1 else 0.15))
    return module.eval()


def neighbours(rows: np.ndarray, heads: int) -> np.ndarray:
    """As convert_hf_to_gguf.py lays queries and keys of the llama kind."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def write(path: Path, name: str, module: Decoder) -> None:
    arch, shape = name.partition(",")[0], module.shape
    known = ARCHITECTURES[arch]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    if arch == "gpt2":
        writer.add_layer_norm_eps(shape.norm_eps)
    else:
        writer.add_layer_norm_rms_eps(shape.norm_eps)
        writer.add_key_length(shape.head_dim)
        writer.add_value_length(shape.head_dim)
        writer.add_rope_dimension_count(shape.head_dim)
        writer.add_rope_freq_base(shape.rope_theta)
    if arch == "qwen3moe":
        writer.add_expert_count(shape.num_experts)
        writer.add_expert_used_count(shape.experts_per_token)
        writer.add_expert_feed_forward_length(shape.expert_size)
    if arch == "gemma3":
        writer.add_sliding_window(WINDOW)
    scaling = shape.rope_scaling
    if scaling is not None and scaling.kind != "llama3":
        kinds = {"linear": gguf.RopeScalingType.LINEAR, "yarn": gguf.RopeScalingType.YARN}
        writer.add_rope_scaling_type(kinds[scaling.kind])
        writer.add_rope_scaling_factor(scaling.factor)
        if scaling.original_context:
            writer.add_rope_scaling_orig_ctx_len(scaling.original_context)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * (VOCAB - 3) + [1] * 3)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    theirs = {ours: one for one, ours in known.names.items()}
    tensors = {key: values.detach().numpy() for key, values in module.named_parameters()}
    if scaling is not None and scaling.kind == "llama3":
        plain = Decoder(shape.model_copy(update={"rope_scaling": None})).rotary.frequencies
        writer.add_tensor("rope_freqs.weight", (plain / module.rotary.frequencies).numpy())
    for key, values in tensors.items():
        part, _, end = key.rpartition(".")
        layer, inside = "", part
        if part.startswith("layers."):
            _, number, inside = part.split(".", 2)
            layer = f"blk.{number}."
        if inside in ("self_attn.q_proj", "self_attn.k_proj") and known.neighbours:
            heads = shape.num_heads if "q_proj" in inside else shape.num_kv_heads
            values = neighbours(values, heads)
        if arch == "gpt2" and inside.startswith("self_attn.") and inside != "self_attn.o_proj":
            if inside != "self_attn.q_proj":
                continue
            fused = [tensors[key.replace("q_proj", f"{one}_proj")] for one in "qkv"]
            writer.add_tensor(f"{layer}attn_qkv.{end}", np.concatenate(fused))
            continue
        if inside.startswith("mlp.experts."):
            if not inside.startswith("mlp.experts.0."):
                continue
            before, _, behind = key.rpartition("0.")
            names = [f"{before}{one}.{behind}" for one in range(shape.num_experts)]
            values = np.stack([tensors[one] for one in names])
            inside = inside.replace(".0.", ".")
        if shape.norm_offset and key.endswith("norm.weight"):
            values = values + np.float32(1.0)
        writer.add_tensor(f"{layer}{theirs[inside]}.{end}", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_cpp(path: Path, ids: list[int]) -> dict[int, float]:
    """The log-probabilities that llama.cpp gives the tokens behind `ids`, in float32."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx, parameters.n_parallel, parameters.cpuparams.n_threads = 128, 1, 1
    parameters.warmup = parameters.fit_params = False
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(parameters)
    asked = {
        "prompt": ids, "n_predict": 1, "n_probs": VOCAB, "temperature": 1.0, "cache_prompt": False,
        "samplers": [], "post_sampling_probs": False,
    }  # fmt: skip
    request = Request(
        f"{server.listening_address}/completion",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json"},
    )
    with build_opener(ProxyHandler({})).open(request) as answer:
        (first, *_) = json.load(answer)["completion_probabilities"]
    return {one["id"]: one["logprob"] for one in first["top_logprobs"]}


@pytest.mark.parametrize("name", list(CASES))
def test_log_probabilities_are_those_of_llama_cpp(name: str, tmp_path: Path) -> None:
    module, path = model_of(name), tmp_path / "model.gguf"
    write(path, name, module)
    ours = load_gguf(path).module
    assert ours.shape == module.shape.model_copy(
        update={"norm_eps": ours.shape.norm_eps, "rope_scaling": ours.shape.rope_scaling}
    )
    assert math.isclose(ours.shape.norm_eps, module.shape.norm_eps, rel_tol=1e-6)
    with torch.no_grad():
        logits = ours(torch.tensor([IDS]))
        assert (logits - module(torch.tensor([IDS]))).abs().max() < 1e-5
        found = logits[0, -1].log_softmax(-1)
    expected = llama_cpp(path, IDS)
    assert len(expected) >= VOCAB - 3
    # Its GELU comes from a table in float16.
    bound = 3e-3 if module.shape.activation == "gelu_tanh" else 1e-4
    assert max(abs(found[token].item() - value) for token, value in expected.items()) < bound
