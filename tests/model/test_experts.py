"""Mixtures of experts: the published sizes, the gradients of transformers, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from langwright.errors import BadInput, BadSettings, Damaged, Unsupported
from langwright.model import (
    Adapters,
    Architecture,
    Decoder,
    LoRASettings,
    ModelBundle,
    decoder_from,
    gguf_write,
    load_adapter,
    load_folder,
    load_gguf,
    save_adapter,
    save_folder,
    write_tensors,
)
from langwright.model.description import describe_module, describe_path, in_a_line
from langwright.model.folder import load_weights, write_json

CONFIG = {
    "vocab_size": 48, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 32, "num_experts": 6, "num_experts_per_tok": 2,
    "moe_intermediate_size": 12, "norm_topk_prob": True,
}  # fmt: skip
GGUF = {"family": "qwen3_moe", "num_experts": 5, "experts_per_token": 2, "expert_size": 32}
IDS = torch.randint(0, 48, (3, 11), generator=torch.Generator().manual_seed(5))
HUB = {
    # config.json as the hub has it, of 30B-A3B and of 235B-A22B
    "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48,
    "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "hidden_act": "silu",
    "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [],
    "decoder_sparse_step": 1, "model_type": "qwen3_moe", "moe_intermediate_size": 768,
    "norm_topk_prob": True, "num_experts": 128, "num_experts_per_tok": 8, "rope_scaling": None,
    "output_router_logits": False, "router_aux_loss_coef": 0.001, "rope_theta": 1000000.0,
    "attention_bias": False, "attention_dropout": 0.0, "sliding_window": None,
    "use_sliding_window": False, "tie_word_embeddings": False, "use_cache": True,
}  # fmt: skip
LARGER = {
    "hidden_size": 4096, "intermediate_size": 12288, "moe_intermediate_size": 1536,
    "num_attention_heads": 64, "num_hidden_layers": 94, "max_window_layers": 94,
}  # fmt: skip


def theirs() -> Any:
    config = transformers.Qwen3MoeConfig(**CONFIG)
    config._attn_implementation = "eager"
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def shape_of(**changes: Any) -> Architecture:
    return Architecture.from_hugging_face({**CONFIG, "model_type": "qwen3_moe", **changes})


def ours(model: Any, folder: Path, original: bool = True) -> Decoder:
    model.save_pretrained(folder, save_original_format=original)
    shape = shape_of()
    return decoder_from(shape, shape.of.to_ours(load_weights(folder), shape))


@pytest.fixture
def module(tmp_path: Path) -> Decoder:
    return ours(theirs(), tmp_path)


@pytest.mark.parametrize(
    ("changes", "billions", "active", "without_tables"),
    [({}, 30.5, 3.3, 29.9), (LARGER, 235, 22, 234)],
)
def test_the_published_sizes(
    changes: dict[str, Any], billions: float, active: float, without_tables: float
) -> None:
    """As the cards of Qwen3-30B-A3B and Qwen3-235B-A22B tell them."""
    shape = Architecture.from_hugging_face({**HUB, **changes})
    digits = 1 if billions < 100 else 0
    tables = 2 * shape.vocab_size * shape.hidden_size
    assert round(shape.num_parameters / 1e9, digits) == billions
    assert round((shape.num_parameters - tables) / 1e9, digits) == without_tables
    assert shape.num_active_parameters / 1e9 == pytest.approx(active, rel=0.02)


@pytest.mark.parametrize("original", [True, False])
def test_gradients_are_those_of_transformers(original: bool, tmp_path: Path) -> None:
    """Of every expert and of the router; from a file with a tensor for each expert and matrix, and
    from one with all of a layer's experts in two."""
    model = theirs()
    module = ours(model, tmp_path, original).requires_grad_(True)
    model(IDS).logits.square().mean().backward()
    module(IDS).square().mean().backward()
    shape = module.shape
    grads = {name: one.grad for name, one in model.named_parameters()}
    expected = shape.of.to_ours(grads, shape)
    found = {name: one.grad for name, one in module.named_parameters()}
    assert found.keys() == expected.keys()
    for name, grad in expected.items():
        mine = found[name]
        assert (grad if mine is None else mine - grad).abs().max() < 1e-6
    assert found["layers.0.mlp.gate.weight"].abs().max() > 1e-5  # type: ignore[union-attr]


def test_an_expert_that_no_token_chose_is_not_asked(module: Decoder) -> None:
    module.requires_grad_(True)
    module(IDS[:1, :1]).sum().backward()
    for layer in module.layers:
        grads = [expert.up_proj.weight.grad for expert in layer.mlp.experts]  # type: ignore[union-attr]
        assert sum(grad is not None for grad in grads) == 2


def test_what_is_told_is_counted(module: Decoder, tmp_path: Path) -> None:
    ids = torch.zeros(1, 32, dtype=torch.int64)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        module(ids)
    told = describe_module(module)
    assert told["flops_per_token"]["forward"] * 32 == counter.get_total_flops()
    parts = told["parameters"]
    assert parts["router"] == 2 * 6 * 16
    assert parts["experts"] == 2 * 6 * 3 * 16 * 12
    assert "feed_forward" not in parts
    assert told["num_active_parameters"] == parts["total"] - 2 * (6 - 2) * 3 * 16 * 12
    assert parts["total"] == module.shape.num_parameters
    assert "2 of 6 experts" in in_a_line(told)
    assert describe_path(tmp_path) == {**told, "stored": {"F32": parts["total"]}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder_sparse_step": 2}, "decoder_sparse_step=2; only 1"),
        ({"mlp_only_layers": [0]}, "mlp_only_layers"),
        ({"use_sliding_window": True, "sliding_window": 4}, "use_sliding_window"),
        ({"num_local_experts": 4}, "num_local_experts=4 and num_experts=6"),
        ({"num_experts_per_tok": 7}, "experts_per_token is 7, num_experts 6"),
        ({"num_experts_per_tok": 0}, "experts_per_token is 0"),
        ({"num_experts_per_tok": None}, "experts_per_token is 0"),
        ({"num_experts": 0}, "num_experts is 0"),
        ({"num_experts": -1}, "num_experts"),
        ({"num_experts": 10**9}, "num_experts"),
        ({"moe_intermediate_size": 0}, "expert_size is 0"),
        ({"moe_intermediate_size": 2**40}, "expert_size"),
        ({"num_experts": "many"}, "num_experts"),
    ],
)
def test_hostile_settings_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((Unsupported, BadSettings), match=words):
        shape_of(**changes)


def test_families_without_experts_refuse_them() -> None:
    values = shape_of().model_dump()
    for change in ({"num_experts": 6}, {"experts_per_token": 2}, {"expert_size": 12}):
        none = {"num_experts": 0, "experts_per_token": 0, "expert_size": 0}
        Architecture.build({**values, "family": "qwen3", **none})
        with pytest.raises(BadSettings, match="has no experts"):
            Architecture.build({**values, "family": "qwen3", **none, **change})


@pytest.mark.parametrize("layers", [2, 1000])
def test_settings_of_many_experts_build_nothing_without_their_weights(
    layers: int, tmp_path: Path
) -> None:
    """4096 in each of a thousand layers would be sixteen million modules."""
    theirs().save_pretrained(tmp_path)
    many = {"num_experts": 4096, "num_hidden_layers": layers}
    shape = shape_of(**many)
    start = time.perf_counter()
    with pytest.raises(BadInput, match="another size altogether"):
        decoder_from(shape, shape.of.to_ours(load_weights(tmp_path), shape))
    write_json(tmp_path / "config.json", shape.to_hugging_face())
    with pytest.raises(Damaged, match="holds fewer"):
        describe_path(tmp_path)
    assert time.perf_counter() - start < 5


def test_a_stack_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    theirs().save_pretrained(tmp_path, save_original_format=False)
    weights = load_weights(tmp_path)
    name = "model.layers.1.mlp.experts.gate_up_proj"
    for spoilt in (weights[name][:5], weights[name][:, :22], weights[name][0]):
        write_tensors(tmp_path / "model.safetensors", {**weights, name: spoilt.contiguous()})
        shape = shape_of()
        with pytest.raises(BadInput, match=r"lacks .*layers\.1\.mlp\.experts\.0"):
            decoder_from(shape, shape.of.to_ours(load_weights(tmp_path), shape))


Make = Callable[..., ModelBundle]


def test_a_file_becomes_a_folder_unchanged(make_model: Make, tmp_path: Path) -> None:
    """What comes out of one tensor is written as many."""
    made = make_model(**GGUF)
    gguf_write.save_gguf(tmp_path / "a.gguf", made, "bf16")
    read = load_gguf(tmp_path / "a.gguf")
    save_folder(tmp_path, read)
    again = dict(load_folder(tmp_path).module.named_parameters())
    for name, values in made.module.named_parameters():
        exact = values.dim() == 1 or name.endswith(".mlp.gate.weight")  # a router stays float32
        assert torch.equal(again[name], values if exact else values.bfloat16().float())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"expert_weights_norm": False}, "expert_weights_norm = False; only True"),
        ({"expert_weights_scale": 2.5}, "expert_weights_scale"),
        ({"expert_gating_func": 2}, "expert_gating_func"),
        ({"expert_shared_count": 1}, "expert_shared_count"),
        ({"expert_count": 0}, "num_experts is 0"),
        ({"expert_count": 4}, "for 4 experts"),
        ({"expert_count": 4096}, "for 4096 experts"),
        ({"expert_count": 2**31}, "num_experts"),
        ({"expert_used_count": 6}, "experts_per_token is 6, num_experts 5"),
        ({"expert_feed_forward_length": 64}, "its settings ask for"),
        ({"expert_feed_forward_length": None}, "expert_feed_forward_length"),
    ],
)
def test_hostile_files_are_refused(
    make_model: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    words: str,
) -> None:
    real = gguf_write._settings

    def spoilt(arch: str, shape: Architecture) -> dict[str, Any]:
        found = {**real(arch, shape), **fields}
        return {key: value for key, value in found.items() if value is not None}

    monkeypatch.setattr(gguf_write, "_settings", spoilt)
    monkeypatch.setattr(gguf_write, "_check", lambda *_: None)
    gguf_write.save_gguf(tmp_path / "a.gguf", make_model(**GGUF))
    with pytest.raises((Unsupported, BadSettings, BadInput, Damaged), match=words):
        load_gguf(tmp_path / "a.gguf")


def test_adapters_are_of_attention_alone(module: Decoder, tmp_path: Path) -> None:
    attention = ("q_proj", "k_proj", "v_proj", "o_proj")
    adapters = Adapters(module)
    for targets in (None, ("q_proj", "down_proj"), ("gate",)):
        settings = LoRASettings() if targets is None else LoRASettings(targets=targets)
        with pytest.raises(BadSettings, match="Experts are not adapted"):
            adapters.add("one", settings)
    adapters.add("one", LoRASettings(rank=2, targets=attention))
    with torch.no_grad():
        for weight in adapters.parameters("one"):
            weight.add_(0.1)
        with adapters.use(["one", None, "one"]):
            together = module(IDS)
        with adapters.use("one"):
            assert (module(IDS)[[0, 2]] - together[[0, 2]]).abs().max() < 1e-5
        assert (module(IDS)[1] - together[1]).abs().max() < 1e-5
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(folder, adapters.take("one"))
    assert set(load_adapter(folder).settings.targets) == set(attention)
    peft = pytest.importorskip("peft")
    loaded = peft.PeftModel.from_pretrained(theirs(), folder).eval()
    with torch.no_grad(), adapters.use("one"):
        assert (loaded(IDS).logits - module(IDS)).abs().max() < 1e-4


def test_training_moves_router_and_experts_from_fresh_weights() -> None:
    module = Decoder(shape_of())
    module.initialise(seed=1)
    router = module.layers[1].mlp.gate.weight  # type: ignore[union-attr]
    before = router.detach().clone()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        logits = module(IDS[:, :-1]).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, IDS[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 < losses[0]
    assert (router - before).abs().min() > 0
