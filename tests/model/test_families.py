"""Every family beside transformers: the same logits from random weights, the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from langwright.errors import LangwrightError, Unsupported
from langwright.model import Architecture, KVCache, write_tensors
from langwright.model.bundle import decoder_from
from langwright.model.families import FAMILIES

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
EXPERTS = {
    "head_dim": 16,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "norm_topk_prob": True,
}
WINDOWS = ["sliding_attention", "full_attention"] * 2
GPT2 = {
    "vocab_size": 96,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"head_dim": 16}),
    "llama, tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "llama, scaled as 3.1": ("LlamaConfig", {"rope_parameters": LLAMA3}),
    "llama, yarn": ("LlamaConfig", {"rope_parameters": YARN}),
    "llama, linear": (
        "LlamaConfig",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0}},
    ),
    "qwen2": ("Qwen2Config", {}),
    "qwen2, windows": (
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2},
    ),
    "qwen3": ("Qwen3Config", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3, windows": (
        "Qwen3Config",
        {"use_sliding_window": True, "sliding_window": 5, "layer_types": WINDOWS},
    ),
    "qwen3_moe": ("Qwen3MoeConfig", EXPERTS),
    "qwen3_moe, shares of the whole": (
        "Qwen3MoeConfig",
        {**EXPERTS, "norm_topk_prob": False, "num_experts_per_tok": 3, "tie_word_embeddings": True},
    ),
    "smollm3": ("SmolLM3Config", {}),
    "smollm3, all turned but two": ("SmolLM3Config", {"no_rope_layers": [0, 1, 1, 0]}),
    "gemma3": ("Gemma3TextConfig", {"head_dim": 16, "sliding_window": 5, "layer_types": WINDOWS}),
    "gemma3, capped and scaled": (
        "Gemma3TextConfig",
        {
            "head_dim": 16,
            "sliding_window": 7,
            "layer_types": WINDOWS,
            "final_logit_softcapping": 3.0,
            "query_pre_attn_scalar": 24,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
            },
        },
    ),
    "arcee": ("ArceeConfig", {}),
    "gpt2": ("GPT2Config", GPT2),
    "gpt2, another width inside": ("GPT2Config", {**GPT2, "n_inner": 40}),
}
IDS = torch.randint(0, 96, (2, 24), generator=torch.Generator().manual_seed(5))


def theirs(name: str) -> Any:
    kind, options = CASES[name]
    values = options if kind == "GPT2Config" else {**SIZES, **options}
    config = getattr(transformers, kind)(**values)
    config._attn_implementation = "eager"
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # nothing at zero or one, so that nothing hides
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def written(model: Any, folder: Path) -> dict[str, Any]:
    model.save_pretrained(folder)
    return dict(json.loads((folder / "config.json").read_text()))


def ours(model: Any, folder: Path) -> Any:
    shape = Architecture.from_hugging_face(written(model, folder))
    weights = load_file(folder / "model.safetensors")
    return decoder_from(shape, shape.of.to_ours(weights, shape))


@pytest.mark.parametrize("name", list(CASES))
def test_logits_equal_those_of_transformers(name: str, tmp_path: Path) -> None:
    model = theirs(name)
    with torch.no_grad():
        expected = model(IDS).logits
        found = ours(model, tmp_path)(IDS)
    assert expected.std() > 0.05
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("name", list(CASES))
def test_what_we_write_transformers_reads(name: str, tmp_path: Path) -> None:
    """Settings and weights, there and back."""
    model = theirs(name)
    module = ours(model, tmp_path)
    shape = module.shape
    config = shape.to_hugging_face()
    assert Architecture.from_hugging_face(json.loads(json.dumps(config))) == shape
    weights = shape.of.to_theirs(dict(module.named_parameters()), shape)
    named = load_file(tmp_path / "model.safetensors")
    assert weights.keys() == named.keys()
    assert all(torch.equal(weights[key], named[key]) for key in named)
    assert sum(values.numel() for values in named.values()) == shape.num_parameters
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_tensors(tmp_path / "model.safetensors", weights)
    twin = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager", dtype=torch.float32
    ).eval()
    assert type(twin) is type(model)
    with torch.no_grad():
        assert torch.equal(twin(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("name", list(CASES))
def test_with_a_cache_every_token_is_as_in_the_whole(name: str, tmp_path: Path) -> None:
    """Token by token, in chunks, and in slots that hold texts of other lengths."""
    module = ours(theirs(name), tmp_path)
    with torch.no_grad():
        whole = module(IDS)
        for sizes in ([1] * 24, [7, 1, 9, 7], [24]):
            cache, parts, at = KVCache(module.shape, 3, 40, torch.float32), [], 0
            for size in sizes:
                parts.append(module(IDS[:, at : at + size], cache.rows([2, 0], size)))
                at += size
            assert (torch.cat(parts, dim=1) - whole).abs().max() < 1e-5
        cache = KVCache(module.shape, 2, 40, torch.float32)
        module(IDS[:1, :11], cache.rows([0], 11))
        module(IDS[1:, :4], cache.rows([1], 4))
        both = torch.stack([IDS[0, 11:20], IDS[1, 4:13]])
        found = module(both, cache.rows([0, 1], 9))
        assert (found[0] - whole[0, 11:20]).abs().max() < 1e-5
        assert (found[1] - whole[1, 4:13]).abs().max() < 1e-5


@pytest.mark.parametrize("name", list(CASES))
def test_with_a_cache_rows_may_be_padded_on_the_left_and_forked(name: str, tmp_path: Path) -> None:
    """Texts of several lengths begin and go on together; one goes on in two ways."""
    module = ours(theirs(name), tmp_path)
    with torch.no_grad():
        whole = module(IDS)
        cache = KVCache(module.shape, 4, 40, torch.float32)
        for slot in range(4):  # what a slot held before must not show
            module(IDS[:1].flip(1), cache.rows([slot], 24))
            cache.lengths[slot] = 0
        for start, sizes in ((0, (13, 6)), (13, (2, 9))):
            begun = (start, 6 if start else 0)
            longest = max(sizes)
            padding = [longest - size for size in sizes]
            rows = torch.zeros(2, longest, dtype=torch.int64)
            for row, size in enumerate(sizes):
                rows[row, longest - size :] = IDS[row, begun[row] : begun[row] + size]
            found = module(rows, cache.rows([3, 1], longest, padding))
            for row, size in enumerate(sizes):
                expected = whole[row, begun[row] : begun[row] + size]
                assert (found[row, longest - size :] - expected).abs().max() < 1e-5
        assert (cache.lengths[3], cache.lengths[1]) == (15, 15)
        cache.fork(3, [0, 2])
        other = torch.cat((IDS[0, :15], IDS[1, 3:9]))[None]
        pair = torch.stack((IDS[0, 15:21], IDS[1, 3:9]))
        found = module(pair, cache.rows([0, 2], 6))
        assert (found[0] - whole[0, 15:21]).abs().max() < 1e-5
        assert (found[1] - module(other)[0, 15:]).abs().max() < 1e-5
        again = module(IDS[:1, 15:21], cache.rows([3], 6))
        assert (again[0] - whole[0, 15:21]).abs().max() < 1e-5


@pytest.mark.parametrize("name", list(CASES))
def test_documents_of_a_packed_row_are_alone(name: str, tmp_path: Path) -> None:
    module = ours(theirs(name), tmp_path)
    lengths = [9, 15, 24]
    with torch.no_grad():
        packed = module.head(module.hidden(IDS, lengths=lengths)).flatten(0, 1)
        alone = [module(part[None])[0] for part in IDS.flatten().split(lengths)]
    assert (packed - torch.cat(alone)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("layers", "width", "heads", "count"),
    [
        (12, 768, 12, 124_439_808),
        (24, 1024, 16, 354_823_168),
        (36, 1280, 20, 774_030_080),
        (48, 1600, 25, 1_557_611_200),
    ],
)
def test_gpt2s_published_sizes(layers: int, width: int, heads: int, count: int) -> None:
    """As nanoGPT counts them, positions included."""
    values = {"n_layer": layers, "n_embd": width, "n_head": heads, "vocab_size": 50257}
    shape = Architecture.from_hugging_face({"model_type": "gpt2", **values})
    assert shape.num_parameters == count
    with torch.device("meta"):
        from langwright.model import Decoder

        assert sum(one.numel() for one in Decoder(shape).parameters()) == count


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize(
    "field",
    [
        {"a_new_trick": True},
        {"attn_logit_softcapping": 30.0},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
        {"hidden_act": "gelu", "hidden_activation": "gelu", "activation_function": "gelu"},
        {"partial_rotary_factor": 0.5},
        {"quantization_config": {"bits": 4}},
        {"layer_types": ["linear_attention"] * 4},
        {"num_experts": 8},
    ],
)
def test_a_field_that_matters_and_is_not_known_is_refused(
    family: str, field: dict[str, Any]
) -> None:
    name = {"gemma3_text": "gemma3"}.get(family, family)
    kind, options = CASES[name]
    values = options if kind == "GPT2Config" else {**SIZES, **options}
    config = getattr(transformers, kind)(**values).to_dict()
    Architecture.from_hugging_face(config)
    with pytest.raises(Unsupported):
        Architecture.from_hugging_face({**config, **field})


def test_a_family_may_not_be_contradicted() -> None:
    sizes = {
        "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_layers": 2, "num_heads": 2,
        "num_kv_heads": 2, "head_dim": 4, "context_length": 8,
    }  # fmt: skip
    assert Architecture.build({**sizes, "family": "qwen3"}).qk_norm
    for wrong in (
        {"family": "qwen3", "qk_norm": False},
        {"family": "nothing"},
        {"sliding_layers": (0,)},
        {"unrotated_layers": (2,)},
        {"rope_scaling": {"kind": "yarn", "factor": 2.0}},
    ):
        with pytest.raises(LangwrightError):
            Architecture.build({**sizes, **wrong})


def test_scaled_positions_of_a_window_are_refused_not_dropped() -> None:
    config = transformers.Gemma3TextConfig(
        **SIZES, sliding_window=5, layer_types=WINDOWS, head_dim=16
    ).to_dict()
    Architecture.from_hugging_face(config)
    config["rope_parameters"]["sliding_attention"] |= {"rope_type": "linear", "factor": 2.0}
    with pytest.raises(Unsupported, match="window"):
        Architecture.from_hugging_face(config)
