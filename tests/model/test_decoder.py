from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaForCausalLM, Qwen3ForCausalLM

from langwright.errors import BadSettings
from langwright.model import Architecture, Decoder, KVCache, ModelBundle, load_folder, save_folder
from langwright.model.attention import attend
from langwright.model.rotary import Rotary, rotate

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]

SHAPES: dict[str, dict[str, Any]] = {
    "llama, grouped, tied": {"family": "llama"},
    "llama, one kv head per head, untied": {
        "family": "llama",
        "num_kv_heads": 4,
        "tie_embeddings": False,
        "norm_eps": 1e-5,
    },
    "llama, one kv head for all, narrow heads": {
        "family": "llama",
        "num_kv_heads": 1,
        "head_dim": 6,
        "rope_theta": 500_000.0,
    },
    "qwen3, grouped, tied": {"rope_theta": 1_000_000.0},
    "qwen3, one kv head per head, untied": {
        "num_kv_heads": 4,
        "tie_embeddings": False,
        "hidden_size": 48,
        "num_layers": 3,
    },
}
every_shape = pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES.keys())


def ids_of(batch: int, length: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 300, (batch, length), generator=generator)


@every_shape
def test_logits_equal_those_of_transformers_from_the_saved_folder(
    make_model: Make, tmp_path: Path, settings: dict[str, Any]
) -> None:
    ours = make_model(3, **settings)
    save_folder(tmp_path, ours)
    family = LlamaForCausalLM if settings.get("family") == "llama" else Qwen3ForCausalLM
    theirs = family.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    ids = ids_of(2, 40)
    with torch.inference_mode():
        expected = theirs(ids).logits
        logits = ours.module(ids)
    assert expected.std() > 0.5
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    assert ours.module.shape.num_parameters == theirs.num_parameters()


@every_shape
def test_loading_what_was_saved_is_the_same_to_the_bit(
    make_model: Make, tmp_path: Path, settings: dict[str, Any]
) -> None:
    ours = make_model(4, **settings)
    save_folder(tmp_path, ours)
    again = load_folder(tmp_path)
    assert again.module.shape == ours.module.shape
    ids = ids_of(1, 20)
    assert torch.equal(again.module(ids), ours.module(ids))
    named = dict(again.module.named_parameters())
    assert all(torch.equal(named[name], one) for name, one in ours.module.named_parameters())
    real = sum(parameter.numel() for parameter in ours.module.parameters())
    assert ours.module.shape.num_parameters == real


def test_attention_as_in_the_textbook_equals_torchs_own() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 8, generator=generator) for length in (5, 7, 7))
    mask = torch.rand(5, 7, generator=generator) < 0.5
    mask[:, 0] = True
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(attend(q, k, v, mask), expected, rtol=0, atol=1e-6)


def test_the_models_attention_is_the_textbooks_with_a_causal_mask(make_model: Make) -> None:
    """Once more from the projections on, so that grouping and mask are told apart from torch's."""
    model = make_model(5).module
    block, x = model.layers[0].self_attn, torch.randn(1, 9, 32)
    turn = model.rotary(torch.arange(9)[None])
    q, k, v = (
        project(x).unflatten(-1, (-1, 16)) for project in (block.q_proj, block.k_proj, block.v_proj)
    )
    q, k = (rotate(part.transpose(1, 2), *turn) for part in (block.q_norm(q), block.k_norm(k)))
    out = [
        attend(
            q[:, head],
            k[:, head // 2],  # heads 0 and 1 share the first key head
            v.transpose(1, 2)[:, head // 2],
            torch.ones(9, 9).tril().bool(),
        )
        for head in range(4)
    ]
    expected = block.o_proj(torch.cat(out, dim=-1))
    torch.testing.assert_close(block(x, turn, None), expected, rtol=0, atol=1e-5)


@every_shape
@torch.inference_mode()
def test_token_by_token_and_in_chunks_equal_the_whole(
    make_model: Make, settings: dict[str, Any]
) -> None:
    module = make_model(6, **settings).module
    ids = ids_of(1, 23)
    whole = module(ids)
    for cuts in ([1] * 23, [7, 1, 12, 3], [22, 1], [23]):
        cache = KVCache(module.shape, 1, 23, torch.float32)
        parts = [module(part, cache.rows([0], part.shape[1])) for part in ids.split(cuts, dim=1)]
        assert cache.lengths == [23]
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("slots", [[0, 1], [2, 0], [1, 3]], ids=str)
@torch.inference_mode()
def test_slots_of_different_lengths_step_together_as_they_would_alone(
    make_model: Make, slots: list[int]
) -> None:
    module = make_model(7).module
    long, short = ids_of(1, 17, 2), ids_of(1, 5, 3)
    cache = KVCache(module.shape, 4, 30, torch.float32)
    # Another sequence was in the slot before: nothing of it may be seen.
    module(ids_of(1, 30, 4), cache.rows([slots[1]], 30))
    cache.lengths[slots[1]] = 0
    module(long[:, :15], cache.rows(slots[:1], 15))
    module(short[:, :3], cache.rows(slots[1:], 3))
    for step in range(2):
        ids = torch.cat([long[:, 15 + step : 16 + step], short[:, 3 + step : 4 + step]])
        logits = module(ids, cache.rows(slots, 1))[:, 0]
        alone = torch.cat([module(long[:, : 16 + step]), module(short[:, : 4 + step])], dim=1)
        expected = alone[0, [15 + step, -1]]
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    assert [cache.lengths[slot] for slot in slots] == [17, 5]


@every_shape
def test_no_later_token_changes_an_earlier_logit(
    make_model: Make, settings: dict[str, Any]
) -> None:
    module = make_model(8, **settings).module
    ids = ids_of(1, 12)
    other = ids.clone()
    other[0, 7] = (ids[0, 7] + 1) % 300
    before, after = module(ids), module(other)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


@every_shape
def test_flops_per_token_equal_those_that_torch_counts(settings: dict[str, Any]) -> None:
    """Exactly, with the plain kernel: the counter does not see into the fused one on a CPU. Like
    PaLM's formula, both count the whole square of scores, not its causal half."""
    base = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "num_layers": 2}
    heads = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "context_length": 64}
    shape = Architecture.build(base | heads | settings)
    module = Decoder(shape)
    module.initialise(0)
    ids = ids_of(3, 24)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(ids).sum().backward()
    assert counter.get_total_flops() == shape.flops_per_token(24) * ids.numel()


def test_rotation_knows_only_the_distance_and_keeps_lengths() -> None:
    rotary = Rotary(16, 10_000.0)
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, 16, generator=generator) for _ in range(2))

    def score(at_q: int, at_k: int) -> float:
        turned = [rotate(x, *rotary(torch.tensor([[at]]))) for x, at in ((q, at_q), (k, at_k))]
        torch.testing.assert_close(turned[0].norm(), q.norm())
        return float((turned[0] * turned[1]).sum())

    for distance in (0, 1, 9):
        for shift in (1, 50, 1000):
            assert score(distance, 0) == pytest.approx(score(distance + shift, shift), abs=1e-4)
    assert score(1, 0) != pytest.approx(score(0, 1), abs=1e-2)


def test_fresh_weights_are_a_function_of_the_seed_and_each_block_an_identity(
    make_model: Make,
) -> None:
    one, same, other = (Decoder(make_model().module.shape) for _ in range(3))
    for module, seed in ((one, 1), (same, 1), (other, 2)):
        module.initialise(seed)
    ids = ids_of(1, 10)
    assert torch.equal(one(ids), same(ids))
    assert not torch.equal(one(ids), other(ids))
    assert torch.equal(one.hidden(ids), one.norm(one.embed_tokens(ids)))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"num_kv_heads": 3}, "multiple of num_kv_heads"),
        ({"num_kv_heads": 0}, "num_kv_heads"),
        ({"num_heads": -4}, "num_heads"),
        ({"head_dim": 5}, "even"),
        ({"num_layers": 0}, "num_layers"),
        ({"hidden_size": 2**40}, "hidden_size"),
        ({"rope_theta": 0.0}, "rope_theta"),
        ({"rope_theta": float("nan")}, "rope_theta"),
        ({"norm_eps": float("inf")}, "norm_eps"),
        ({"family": "mamba"}, "family"),
        ({"num_experts": 4}, "num_experts"),
    ],
)
def test_settings_that_make_no_model_are_refused(
    make_model: Make, settings: dict[str, Any], match: str
) -> None:
    with pytest.raises(BadSettings, match=match):
        make_model(**settings)


PACKED = [
    [[12, 12], [24]],
    [[5, 1, 11, 7], [24]],
    [[24], [24]],
    [[1, 23], [23, 1]],
]
"""Lengths of the documents in two rows of 24."""


@every_shape
@pytest.mark.parametrize("packed", PACKED, ids=str)
@torch.inference_mode()
def test_packed_documents_have_the_logits_that_they_have_alone(
    make_model: Make, settings: dict[str, Any], packed: list[list[int]]
) -> None:
    module = make_model(9, **settings).module
    ids = ids_of(2, 24)
    lengths = [length for row in packed for length in row]
    logits = module.lm_head(module.hidden(ids, lengths=lengths)).flatten(0, 1)
    alone = [module(part[None])[0] for part in ids.flatten().split(lengths)]
    torch.testing.assert_close(logits, torch.cat(alone), rtol=0, atol=1e-5)


@every_shape
def test_no_token_of_a_document_reaches_another(make_model: Make, settings: dict[str, Any]) -> None:
    """The Jacobian's blocks between documents, and between a token and those before it, are
    exactly zero; all others are not."""
    module = make_model(10, **settings).module
    lengths = [5, 1, 6, 6, 4, 2]
    document = torch.arange(6).repeat_interleave(torch.tensor(lengths))
    place = torch.arange(24)
    reach = torch.zeros(24, 24, dtype=torch.bool)
    embedded: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, out: torch.Tensor) -> torch.Tensor:
        embedded.append(out.detach().requires_grad_())
        return embedded[0]

    handle = module.embed_tokens.register_forward_hook(keep)
    hidden = module.hidden(ids_of(2, 12), lengths=lengths).flatten(0, 1)
    handle.remove()
    mark = torch.randn(hidden.shape[1], generator=torch.Generator().manual_seed(0))
    for token in range(24):
        (slope,) = torch.autograd.grad(hidden[token] @ mark, embedded[0], retain_graph=True)
        reach[token] = slope.flatten(0, 1).abs().amax(-1) > 0
    expected = (document[:, None] == document) & (place[:, None] >= place)
    assert torch.equal(reach, expected)


def test_another_token_in_one_document_changes_no_bit_of_the_others(make_model: Make) -> None:
    module = make_model(11).module
    ids, lengths = ids_of(2, 12), [5, 7, 3, 9]
    other = ids.clone()
    other[0, 5] = (ids[0, 5] + 1) % 300
    before, after = (module.hidden(one, lengths=lengths).flatten(0, 1) for one in (ids, other))
    assert torch.equal(before[:5], after[:5])
    assert torch.equal(before[12:], after[12:])
    assert not torch.equal(before[5:12], after[5:12])


def test_positions_begin_anew_in_each_document(make_model: Make) -> None:
    """Rotation knows only distances, so that no logit would tell."""
    module, seen = make_model(12).module, []
    handle = module.rotary.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    module.hidden(ids_of(2, 6), lengths=[4, 2, 1, 5])
    handle.remove()
    assert seen[0].tolist() == [[0, 1, 2, 3, 0, 1], [0, 0, 1, 2, 3, 4]]
