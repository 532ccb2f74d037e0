"""Exports: other programs read them as we do, or there are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from langwright.errors import BadInput, LangwrightError, Unsupported
from langwright.lifecycle import export
from langwright.lifecycle.export import proof as proofs
from langwright.lifecycle.export.proof import Unproved
from langwright.model import ModelBundle, gguf_write, load_folder, load_gguf, save_folder
from langwright.tokens import CHATML, END_OF_TEXT, ChatTemplate, JsonTokenizer

Make = Callable[..., ModelBundle]
WINDOWED = {"sliding_window": 8, "sliding_layers": (0, 1), "local_rope_theta": 10_000.0}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"vocab_size": 384},
    "llama": {"tie_embeddings": False, "rope_scaling": {"kind": "linear", "factor": 2.0}},
    "qwen2": {"qkv_bias": True, "head_dim": 8},
    "qwen3_moe": {"num_experts": 5, "experts_per_token": 2, "expert_size": 32},
    "smollm3": {"num_layers": 4, "unrotated_layers": (3,)},
    "arcee": {},
    "gemma3_text": {**WINDOWED, "attention_scale": 0.25, "rope_theta": 1_000_000.0},
    "gpt2": {"num_kv_heads": 4, "head_dim": 8, "norm_eps": 1e-5},
}


@pytest.fixture
def folder(make_model: Make, tmp_path: Path) -> Callable[..., Path]:
    """A folder with a small model whose texts begin with a token, as ours do."""

    def write(start: bool = True, template: str = CHATML, **settings: Any) -> Path:
        model = make_model(**settings)
        end = model.tokenizer.special[END_OF_TEXT]
        chat = ChatTemplate(template, model.tokenizer, END_OF_TEXT if start else "")
        if model.module.shape.norm_offset:
            with torch.no_grad():
                for name, weight in model.module.named_parameters():
                    if name.endswith("norm.weight"):
                        weight -= model.module.shape.norm_offset
        model = replace(model, template=chat, start_id=end if start else None)
        (tmp_path / "model").mkdir()
        save_folder(tmp_path / "model", model)
        return tmp_path / "model"

    return write


# Of the others `pytest -m slow` sees to it: each starts llama.cpp anew.
@pytest.mark.parametrize(
    "family",
    [
        pytest.param(
            name, marks=() if name in ("llama", "qwen3", "gemma3_text") else pytest.mark.slow
        )
        for name in FAMILIES
    ],
)
def test_llama_cpp_reads_every_family_as_we_do(
    family: str, folder: Callable[..., Path], tmp_path: Path
) -> None:
    source = folder(family=family, **FAMILIES[family])
    found = export(str(source), "gguf", tmp_path / "out.gguf")
    (proof,) = found["proofs"]
    assert proof["engine"] == "llama.cpp"
    assert proof["passed"]
    assert proof["token_ids_equal"]
    gelu = load_folder(source).module.shape.activation == "gelu_tanh"
    assert proof["max_abs_logprob_diff"] <= proof["tolerance"] == (1e-2 if gelu else 1e-4)
    names = [Path(file).name for file in found["files"]]
    assert names == ["out.gguf", "out.Modelfile", "out.proof.json"]
    told = json.loads((tmp_path / "out.proof.json").read_text())
    assert told["proved"]
    assert told["proofs"] == found["proofs"]
    ours, again = load_folder(source), load_gguf(tmp_path / "out.gguf")
    assert (again.end_ids, again.start_id) == (ours.end_ids, ours.start_id)
    assert again.tokenizer.vocab_size == ours.tokenizer.vocab_size
    weights = dict(again.module.named_parameters())
    for name, values in ours.module.named_parameters():
        assert (weights[name] - values).abs().max() < 1e-6


@pytest.mark.parametrize("family", ["llama", "qwen3_moe"])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "q8_0", "q5_1", "q4_0"])
def test_smaller_types_are_proved_against_what_they_leave(
    dtype: str, family: str, folder: Callable[..., Path], tmp_path: Path
) -> None:
    source = folder(family=family, **(FAMILIES["qwen3_moe"] if family == "qwen3_moe" else {}))
    (proof,) = export(str(source), "gguf", tmp_path / "out", dtype=dtype)["proofs"]
    assert proof["passed"]
    assert proof["dtype"] == dtype
    assert proof["witness_kl"] < 0.01
    assert (tmp_path / "out" / "model.Modelfile").read_text().startswith("FROM ./model.gguf\n")


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe"])
def test_transformers_reads_a_folder_as_we_do(
    family: str, folder: Callable[..., Path], tmp_path: Path
) -> None:
    source = folder(family=family, **FAMILIES[family])
    found = export(str(source), "hf", tmp_path / "out", dtype="bf16")
    (proof,) = found["proofs"]
    assert proof["engine"] == "transformers"
    assert proof["passed"]
    assert proof["max_abs_logprob_diff"] <= proof["tolerance"] == 1e-4
    assert proof["mean_kl"] > proof["witness_kl"]
    assert {str(file) for file in (tmp_path / "out").iterdir()} == set(found["files"])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["torch_dtype"] == "bfloat16"


def refused(source: Path, to: Any, target: Path) -> str:
    with pytest.raises(Unproved) as error:
        export(str(source), to, target)
    assert [path.name for path in target.parent.iterdir()] == ["model"]
    return error.value.message


def test_a_forgotten_permutation_is_refused(
    folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_write, "permute", lambda rows, heads: rows)
    assert "probabilities" in refused(folder(family="llama"), "gguf", tmp_path / "out.gguf")


@pytest.mark.parametrize("name", ["llama-bpe", "gpt-2", "smollm", "default"])
def test_a_wrong_cutting_is_refused(
    name: str, folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = gguf_write.gguf_fields
    monkeypatch.setattr(
        gguf_write, "gguf_fields", lambda *args: real(*args) | {"tokenizer.ggml.pre": name}
    )
    # A vocabulary this small may be cut alike; what the file says is compared as well.
    message = refused(folder(), "gguf", tmp_path / "out.gguf")
    assert "tokens" in message or "names another cutting" in message


@pytest.mark.parametrize("to", ["hf", "gguf"])
def test_a_doubled_start_is_refused(
    to: str, folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(start=False)
    real = gguf_write._vocabulary
    start = {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 0}
    monkeypatch.setattr(gguf_write, "_vocabulary", lambda model: real(model) | start)
    with_start = JsonTokenizer.with_start
    monkeypatch.setattr(JsonTokenizer, "with_start", lambda self, token: with_start(self, 0))
    message = refused(source, to, tmp_path / "out.gguf")
    assert "token 0 of" in message


@pytest.mark.parametrize("to", ["hf", "gguf"])
def test_a_changed_template_is_refused(
    to: str, folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder()

    def changed(text: str) -> str:
        return text.replace("'\\n' + message", "' ' + message")

    assert changed(CHATML) != CHATML
    monkeypatch.setattr(gguf_write, "_without_marks", lambda template: changed(template.source))
    from langwright.model import folder as room

    write = room.write_json

    def write_changed(path: Path, values: dict[str, Any]) -> None:
        if "chat_template" in values:
            values["chat_template"] = changed(values["chat_template"])
        write(path, values)

    monkeypatch.setattr(room, "write_json", write_changed)
    assert "tokens" in refused(source, to, tmp_path / "out")


def test_what_transformers_computes_otherwise_names_the_layer(
    folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langwright.model import folder as room

    write = room.write_tensors

    def wrong(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        name = "model.layers.1.mlp.up_proj.weight"
        write(path, tensors | {name: tensors[name] * 2})

    source = folder()
    monkeypatch.setattr(room, "write_tensors", wrong)
    assert "behind layer 1" in refused(source, "hf", tmp_path / "out")


def test_a_template_with_marks_of_what_is_learnt_leaves_without_them(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    marked = CHATML.replace(
        "message['content']",
        "'' }}{%- generation -%}{{ message['content'] }}{% endgeneration %}{{ ''",
    )
    source = folder(template=marked)
    assert export(str(source), "gguf", tmp_path / "out.gguf")["proofs"][0]["passed"]
    assert "generation -" not in (load_gguf(tmp_path / "out.gguf").template or 0).source  # type: ignore[union-attr]


def test_what_gguf_cannot_say_is_refused_by_name(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    source = folder(family="qwen3", sliding_window=8, sliding_layers=(0,))
    with pytest.raises(Unsupported, match="sliding_layers"):
        export(str(source), "gguf", tmp_path / "out.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_shares_of_experts_that_are_no_whole_stay_out_of_gguf(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    source = folder(family="qwen3_moe", **FAMILIES["qwen3_moe"], norm_topk_prob=False)
    with pytest.raises(Unsupported, match="norm_topk_prob=False"):
        export(str(source), "gguf", tmp_path / "out.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert export(str(source), "hf", tmp_path / "out")["proofs"][0]["passed"]


def test_unproved_files_say_so(
    folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder()
    monkeypatch.setitem(proofs._ENGINES, "gguf", ("llama.cpp", "no_such_module"))
    with pytest.raises(Unsupported, match=r"llama\.cpp, which is not installed"):
        export(str(source), "gguf", tmp_path / "out.gguf")
    found = export(str(source), "gguf", tmp_path / "out.gguf", unproved=True)
    assert found["proofs"] == []
    assert not json.loads((tmp_path / "out.proof.json").read_text())["proved"]


def test_nothing_is_overwritten_and_bad_asks_are_told(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    source = folder()
    (tmp_path / "out.gguf").write_text("mine")
    with pytest.raises(BadInput, match="exists already"):
        export(str(source), "gguf", tmp_path / "out.gguf", unproved=True)
    assert (tmp_path / "out.gguf").read_text() == "mine"
    for to, path, dtype in (
        ("onnx", "a", "f32"),
        ("hf", "a", "q8_0"),
        ("gguf", "a", "q3_k"),
        ("gguf", "out.gguf/a", "f32"),
    ):
        with pytest.raises(LangwrightError):
            export(str(source), to, tmp_path / path, dtype=dtype, unproved=True)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out.gguf"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0", "q4_1"])
def test_smollm2_leaves_as_it_came(smollm2_path: Path, tmp_path: Path, dtype: str) -> None:
    (proof,) = export(str(smollm2_path), "gguf", tmp_path / "out.gguf", dtype=dtype)["proofs"]
    assert proof["passed"]


@pytest.mark.slow
def test_smollm2_leaves_for_transformers(smollm2_path: Path, tmp_path: Path) -> None:
    (proof,) = export(str(smollm2_path), "hf", tmp_path / "out")["proofs"]
    assert proof["max_abs_logprob_diff"] <= 1e-4
