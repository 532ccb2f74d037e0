"""The glass box against transformers, against the kernel, and against models without the part."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from langwright.errors import BadInput
from langwright.inference import Part, watch, without_parts
from langwright.inference.glassbox import last_logits, parts_of
from langwright.model import Adapters, Decoder, LoRASettings, ModelBundle, load_folder, save_folder
from langwright.model.bert import Bert, BertShape, bert_weights
from langwright.model.bundle import filled

from ..model.test_families import CASES, IDS, ours, theirs

Make = Callable[..., ModelBundle]
ROW = IDS[0].tolist()


def watched(module: Decoder | Bert, ids: list[int]) -> tuple[Any, list[Tensor]]:
    """The trace, and what the output projection of each layer really received, [T, H * D]."""
    received: list[Tensor] = []

    def hear(_: Any, given: Any) -> None:
        received.append(given[0][0])

    hooks = [layer.self_attn.o_proj.register_forward_pre_hook(hear) for layer in module.layers]
    trace = watch(module, ids)
    for hook in hooks:
        hook.remove()
    return trace, received


def largest_difference(module: Decoder | Bert, ids: list[int]) -> float:
    """Between the weights times v, heads side by side, and what the module went on with."""
    trace, received = watched(module, ids)
    assert len(trace.mixing) == len(received) == len(module.layers)
    largest = 0.0
    for layer, (mixing, went_on) in enumerate(zip(trace.mixing, received, strict=True)):
        weights = trace.attention(layer)
        assert weights.shape == (module.shape.num_heads, len(ids), len(ids))
        assert (weights.sum(-1) - 1).abs().max() < 1e-5
        assert torch.equal(mixing.weights(1)[0], weights[1])
        mixed = (weights @ mixing.v_HCD.float()).transpose(0, 1).flatten(1)
        largest = max(largest, float((mixed - went_on.float()).abs().max()))
    return largest


@pytest.mark.parametrize("name", list(CASES))
def test_of_every_family_weights_times_v_are_what_the_module_computed(
    name: str, tmp_path: Path
) -> None:
    module = ours(theirs(name), tmp_path)
    assert largest_difference(module, ROW) < 1e-5


@pytest.mark.parametrize("name", list(CASES))
def test_of_every_family_attention_and_hidden_states_are_those_of_transformers(
    name: str, tmp_path: Path
) -> None:
    model = theirs(name)
    module = ours(model, tmp_path)
    trace = watch(module, ROW)
    with torch.no_grad():
        told = model(IDS[:1], output_attentions=True, output_hidden_states=True)
        normed = module.norm(trace.hidden[-1])
    for layer, expected in enumerate(told.attentions):
        assert (trace.attention(layer) - expected[0]).abs().max() < 1e-5
    # Theirs has the last one behind the final norm, ours before it.
    for found, expected in zip([*trace.hidden[:-1], normed], told.hidden_states, strict=True):
        assert (found - expected[0]).abs().max() < 1e-4
    assert torch.equal(trace.states, normed)


@pytest.fixture
def encoder() -> tuple[Bert, Any]:
    config = transformers.BertConfig(
        vocab_size=80, hidden_size=48, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=40,
    )  # fmt: skip
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = transformers.BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    shape = BertShape.from_hugging_face(config.to_dict())
    weights = {name: one.clone() for name, one in model.state_dict().items()}
    return filled(lambda: Bert(shape), bert_weights(weights), 3), model


def test_an_encoder_looks_both_ways_as_in_transformers(encoder: tuple[Bert, Any]) -> None:
    module, model = encoder
    ids = torch.randint(1, 80, (1, 17), generator=torch.Generator().manual_seed(1))
    assert largest_difference(module, ids[0].tolist()) < 1e-5
    trace = watch(module, ids[0].tolist())
    with torch.no_grad():
        told = model(ids, output_attentions=True, output_hidden_states=True)
    for layer, expected in enumerate(told.attentions):
        assert (trace.attention(layer) - expected[0]).abs().max() < 1e-5
        assert trace.attention(layer)[:, 0, -1].min() > 0
    for found, expected in zip(trace.hidden, told.hidden_states, strict=True):
        assert (found - expected[0]).abs().max() < 1e-5


def test_what_an_adapter_does_is_seen(make_model: Make) -> None:
    module = make_model().module
    plain = watch(module, ROW).attention(0)
    adapters = Adapters(module)
    adapters.add("one", LoRASettings(rank=4), seed=1)
    for one in adapters.parameters("one"):
        torch.nn.init.normal_(one, std=0.1)
    with adapters.use("one"):
        assert largest_difference(module, ROW) < 1e-5
        assert (watch(module, ROW).attention(0) - plain).abs().max() > 0.01
    assert torch.equal(watch(module, ROW).attention(0), plain)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4", "nf4"])
def test_so_is_what_fewer_bits_do(make_model: Make, tmp_path: Path, dtype: Any) -> None:
    """The module then computes in bfloat16, which has 8 bits behind the point."""
    save_folder(tmp_path, make_model(hidden_size=64, intermediate_size=64))
    module = load_folder(tmp_path, dtype).module
    assert largest_difference(module, ROW) < 0.02
    states = watch(module, ROW).states
    with without_parts(module, [[Part(0, 1)]]):
        assert not torch.equal(watch(module, ROW).states, states)


def logits_without(module: Decoder, *parts: Part) -> Tensor:
    with torch.no_grad(), without_parts(module, [parts]):
        return module(IDS[:1])[0]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "qwen3, windows"])
def test_a_head_is_off_as_if_nothing_read_it(name: str, tmp_path: Path) -> None:
    """Beside a copy of the model whose output projection has zeros in the head's columns."""
    module = ours(theirs(name), tmp_path)
    size, whole = module.shape.head_dim, logits_without(module)
    for layer, head in ((0, 0), (1, 3), (3, 2)):
        other = copy.deepcopy(module)
        with torch.no_grad():
            out = other.layers[layer].self_attn.o_proj
            out.weight[:, head * size : (head + 1) * size] = 0
            expected = other(IDS[:1])[0]
        found = logits_without(module, Part(layer, head))
        assert (found - expected).abs().max() < 1e-5
        assert (found - whole).abs().max() > 1e-3
    assert torch.equal(logits_without(module), whole)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
def test_a_layer_is_off_as_if_it_were_not_there(name: str, tmp_path: Path) -> None:
    module = ours(theirs(name), tmp_path)
    other = copy.deepcopy(module)
    del other.layers[3]
    with torch.no_grad():
        expected = other(IDS[:1])[0]
    assert (logits_without(module, Part(3)) - expected).abs().max() < 1e-5


def test_each_row_of_a_batch_lacks_its_own_parts(make_model: Make) -> None:
    module = make_model(num_layers=3).module
    rows = [[], [Part(0, 1)], [Part(2)], [Part(0, 1), Part(1), Part(2, 3)], [Part(1, 0)]]
    together = list(last_logits(module, ROW, rows))
    for parts, found in zip(rows, together, strict=True):
        assert (found - logits_without(module, *parts)[-1]).abs().max() < 1e-5
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_the_module_is_left_as_it_was(make_model: Make) -> None:
    module = make_model().module
    watch(module, ROW)
    with pytest.raises(IndexError), without_parts(module, [[Part(0, 1), Part(1)]]):
        watch(module, [10**6])
    for one in module.modules():
        assert not one._forward_hooks
        assert not one._forward_pre_hooks


def test_parts_have_names() -> None:
    assert parts_of(["3", "0.1"], 4, 2) == [Part(3), Part(0, 1)]
    for wrong in ("4", "0.2", "-1", "a", "1.", "", "1.1.1", "9" * 30):
        with pytest.raises(BadInput):
            parts_of([wrong], 4, 2)
