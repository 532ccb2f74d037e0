"""What is told of a model is what its module and its files are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from langwright.errors import LangwrightError
from langwright.model import Architecture, Decoder, KVCache, ModelBundle, save_folder
from langwright.model.description import describe_module, describe_path, in_a_line
from langwright.model.gguf_write import save_gguf

Make = Callable[..., ModelBundle]


def test_gpt2s_parts_add_up_to_the_published_size() -> None:
    sizes = {"n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257}
    with torch.device("meta"):
        module = Decoder(Architecture.from_hugging_face({"model_type": "gpt2", **sizes}))
    told = describe_module(module)
    parts = told["parameters"]
    assert parts == {
        "total": 124_439_808,
        "attention": 12 * (4 * 768 * 768 + 4 * 768),
        "embedding": (50257 + 1024) * 768,
        "feed_forward": 12 * (8 * 768 * 768 + 5 * 768),
        "norms": 25 * 2 * 768,
    }
    assert told["weights_bytes"]["bfloat16"] == 2 * 124_439_808


def test_flops_are_those_that_torch_counts(make_model: Make) -> None:
    """Of the matrices; and of attention over a whole context, which torch counts unmasked."""
    module = make_model(num_kv_heads=4).module
    ids = torch.zeros(1, 64, dtype=torch.int64)
    plain = sdpa_kernel(SDPBackend.MATH)  # the fused kernel is not counted
    with plain, FlopCounterMode(display=False) as counter:
        module(ids)
    told = describe_module(module)
    assert told["flops_per_token"]["forward"] * 64 == counter.get_total_flops()
    assert told["flops_per_token"]["training"] == 3 * told["flops_per_token"]["forward"]


def test_cache_bytes_are_those_of_the_cache(make_model: Make) -> None:
    shape = make_model().module.shape
    cache = KVCache(shape, 3, 10, torch.bfloat16)
    size = cache.k_LSKCD.nbytes + cache.v_LSKCD.nbytes
    told = describe_module(make_model().module)
    assert told["cache_bytes_per_token"]["bfloat16"] * 30 == size


def test_folders_and_files_are_told_with_their_weights_unread(
    make_model: Make, tmp_path: Path
) -> None:
    model = make_model(tie_embeddings=False)
    save_folder(tmp_path, model, "bf16")
    save_gguf(tmp_path / "a.gguf", model, "q8_0")
    total = model.module.shape.num_parameters
    file = describe_path(tmp_path / "a.gguf")
    (tmp_path / "a.gguf").unlink()
    folder = describe_path(tmp_path)
    plain = describe_module(model.module)
    assert folder == {**plain, "stored": {"BF16": total}}
    assert file == {**plain, "stored": file["stored"]}
    assert sum(file["stored"].values()) == total
    assert set(file["stored"]) == {"Q8_0", "F32"}
    assert "parameters: total" in in_a_line(plain)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(LangwrightError):
        describe_path(tmp_path)
