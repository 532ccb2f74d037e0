from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from langwright.errors import BadInput, Damaged, LangwrightError, NotFound, Unsupported
from langwright.model import ModelBundle, load_folder, load_model, save_folder, weights_sha256
from langwright.tokens import ChatTemplate, train_bpe

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]


@pytest.fixture
def folder(make_model: Make, tmp_path: Path) -> Path:
    save_folder(tmp_path, make_model(1, tie_embeddings=False))
    return tmp_path


def change(path: Path, **values: Any) -> None:
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | values))


def test_transformers_reads_model_tokenizer_and_template_alike(
    make_model: Make, tmp_path: Path
) -> None:
    ours = make_model(2)
    save_folder(tmp_path, ours)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "the fox 12"}, {"role": "assistant", "content": "dog"}]
    assert theirs.apply_chat_template(messages, return_dict=True)["input_ids"] == (
        ours.template.encode(messages) if ours.template else None
    )
    assert theirs.eos_token_id in ours.end_ids
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.generation_config.eos_token_id in (list(ours.end_ids), *ours.end_ids)
    assert model.dtype == torch.float32


def test_everything_of_a_model_comes_back(make_model: Make, tmp_path: Path) -> None:
    ours = make_model(3, start_id=305)
    source = "{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}"
    ours.template = ChatTemplate(source, ours.tokenizer, bos="<|im_start|>", eos="<|endoftext|>")
    save_folder(tmp_path, ours)
    again = load_model(tmp_path)
    assert again.end_ids == ours.end_ids
    assert again.start_id == 305
    assert again.tokenizer.fingerprint == ours.tokenizer.fingerprint
    assert again.template is not None
    messages = [{"role": "user", "content": "hello"}]
    assert again.template.encode(messages) == ours.template.encode(messages)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"model_type": "mamba"}, "family 'mamba'"),
        ({"model_type": None}, "family"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_parameters"),
        ({"layer_types": ["chunked_attention"]}, "layer_types"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 4.0}}, "rope_parameters"),
        ({"rope_parameters": {"rope_type": "default", "factor": 4.0}}, "rope_parameters"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "rope_parameters"),
        ({"rope_parameters": [1]}, "rope_parameters"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_attention_heads": "4"}, "num_attention_heads"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_a_config_that_asks_for_what_is_not_built_is_refused(
    folder: Path, values: dict[str, Any], match: str
) -> None:
    change(folder / "config.json", **values)
    with pytest.raises(Unsupported, match=match):
        load_folder(folder)


def reweigh(folder: Path, how: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    how(weights)
    save_file({name: one.contiguous() for name, one in weights.items()}, path)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        (lambda w: w.pop("model.layers.1.mlp.up_proj.weight"), "lacks.*layers.1.mlp.up_proj"),
        (lambda w: w.pop("lm_head.weight"), "lacks.*lm_head"),
        (lambda w: w.update({"model.layers.0.bias": torch.ones(1)}), "layers.0.bias.*not know"),
        (lambda w: w.update({"model.norm.weight": torch.ones(31)}), r"'norm.*\[31\].*\[32\]"),
        (
            lambda w: w.update({"model.embed_tokens.weight": torch.ones(32, 320)}),
            r"'embed_tokens.*\[32, 320\].*\[320, 32\]",
        ),
        (
            lambda w: w["model.layers.0.mlp.up_proj.weight"][3].fill_(float("nan")),
            "layers.0.mlp.up_proj.*not numbers",
        ),
        (lambda w: w["model.norm.weight"][:1].fill_(float("-inf")), "norm.weight.*not numbers"),
    ],
)
def test_a_wrong_tensor_is_named(
    folder: Path, how: Callable[[dict[str, torch.Tensor]], object], match: str
) -> None:
    reweigh(folder, how)
    with pytest.raises(BadInput, match=match):
        load_folder(folder)


INDEX = "model.safetensors.index.json"


@pytest.fixture
def shards(folder: Path) -> Path:
    """The folder with its weights in two files and an index, as large models come."""
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model-{len(name) % 2 + 1}-of-2.safetensors" for name in whole}
    for place in set(places.values()):
        save_file({name: whole[name] for name in whole if places[name] == place}, folder / place)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def test_shards_are_read_as_one_file_is(make_model: Make, shards: Path) -> None:
    save_file({"lm_head.weight": torch.ones(3)}, shards / "other.safetensors")  # not in the index
    expected = make_model(1, tie_embeddings=False)
    assert weights_sha256(load_folder(shards).module) == weights_sha256(expected.module)


def test_a_missing_shard_is_named(shards: Path) -> None:
    (shards / "model-2-of-2.safetensors").unlink()
    with pytest.raises(NotFound, match=r"lacks model-2-of-2\.safetensors"):
        load_folder(shards)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_tensor_in_two_files_is_refused(shards: Path, indexed: bool) -> None:
    first = load_file(shards / "model-1-of-2.safetensors")
    second = load_file(shards / "model-2-of-2.safetensors")
    name = min(second)
    save_file(first | {name: second[name]}, shards / "model-1-of-2.safetensors")
    if not indexed:
        (shards / INDEX).unlink()
    with pytest.raises(Damaged, match=f"'{name}' in two files"):
        load_folder(shards)


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/model.safetensors", "..", "", "a\\b", "a\0", 5, None, []]
)
def test_an_index_leads_nowhere_else(shards: Path, name: Any) -> None:
    for place in ("model.safetensors", "model-1-of-2.safetensors"):
        (shards.parent / place).write_bytes((shards / "model-1-of-2.safetensors").read_bytes())
    places = json.loads((shards / INDEX).read_text())["weight_map"]
    change(shards / INDEX, weight_map=places | {"lm_head.weight": name})
    with pytest.raises(Damaged, match="names the file"):
        load_folder(shards)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": [1]}', "[", "[1]"])
def test_an_index_without_a_map_is_refused(shards: Path, content: str) -> None:
    (shards / INDEX).write_text(content)
    with pytest.raises(Damaged, match="index"):
        load_folder(shards)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_precisions_are_read_as_float32(folder: Path, dtype: torch.dtype) -> None:
    path = folder / "model.safetensors"
    halves = {name: one.to(dtype) for name, one in load_file(path).items()}
    save_file(halves, path)
    module = load_folder(folder).module
    assert module.lm_head.weight.dtype == torch.float32
    assert torch.equal(module.lm_head.weight, halves["lm_head.weight"].float())


def test_large_finite_weights_are_numbers(folder: Path) -> None:
    reweigh(folder, lambda w: w["model.norm.weight"].fill_(3e38))
    load_folder(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"num_hidden_layers": 2**31 - 1},
        {"num_hidden_layers": 2**70},
        {"intermediate_size": 2**31 - 1},
        {"hidden_size": 2**31 - 1, "intermediate_size": 2**31 - 1},
        {"head_dim": 2**31 - 2, "num_attention_heads": 2**30, "num_key_value_heads": 2**30},
        {"vocab_size": -1},
        {"vocab_size": "many"},
        {"rms_norm_eps": float("nan")},
        {"rope_parameters": {"rope_theta": -1}},
        {"eos_token_id": ["x"]},
    ],
    ids=str,
)
def test_a_damaged_config_neither_hangs_nor_takes_memory(
    folder: Path, values: dict[str, Any]
) -> None:
    change(folder / "config.json", **values)
    if "eos_token_id" in values:
        (folder / "generation_config.json").unlink()
    with pytest.raises(LangwrightError):
        load_folder(folder)


def test_another_tokenizer_is_refused(folder: Path) -> None:
    train_bpe(["quite other words, other words"] * 3, 300).save(folder / "tokenizer.json")
    with pytest.raises(BadInput, match="not the one"):
        load_folder(folder)


def test_a_tokenizer_larger_than_the_table_is_refused(make_model: Make) -> None:
    with pytest.raises(BadInput, match="307 tokens, the model 300 rows"):
        make_model(vocab_size=300)


@pytest.mark.parametrize("end", [320, -1, "x", 1.5, True])
def test_end_tokens_that_do_not_exist_are_refused(folder: Path, end: Any) -> None:
    change(folder / "generation_config.json", eos_token_id=[end])
    with pytest.raises(Damaged, match="end tokens"):
        load_folder(folder)


def test_missing_files_are_named(folder: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        (folder / name).unlink()
        with pytest.raises(LangwrightError, match=name.split(".")[-1]):
            load_folder(folder)
    with pytest.raises(NotFound):
        load_folder(folder / "nowhere")


def test_cut_or_altered_files_are_errors_for_people(folder: Path) -> None:
    dice = random.Random(0)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for _ in range(6):
            path.write_bytes(whole[: dice.randrange(len(whole) - 2)])
            with pytest.raises(LangwrightError):
                load_folder(folder)
        for _ in range(15):
            altered = bytearray(whole)
            # Of the weights, only the header: a changed value is another value.
            altered[dice.randrange(min(len(whole), 2000))] = dice.randrange(256)
            path.write_bytes(altered)
            try:
                load_folder(folder)
            except LangwrightError:
                continue
        path.write_bytes(whole)
    load_folder(folder)
