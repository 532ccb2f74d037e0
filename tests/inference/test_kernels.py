"""The compiled decode step against torch's, which is its plain twin."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants
from torch import Tensor, nn

from langwright.inference.kernels import DecodeStep, cover, prepare, ready, why_not
from langwright.inference.kernels.threads import Crew
from langwright.model import (
    Adapters,
    Architecture,
    Decoder,
    KVCache,
    LoRASettings,
    decoder_from,
)
from langwright.model.blocks import Q8_0, Blocks
from langwright.model.quantised import Matrix, held, of_blocks

pytest.importorskip("numba")

from langwright.inference.kernels.compiled import run_step

SIZES: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_layers": 3,
    "num_heads": 6,
    "num_kv_heads": 2,
    "head_dim": 16,
    "context_length": 64,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"rope_scaling": {"kind": "linear", "factor": 2.0}},
    "qwen2": {"tie_embeddings": False},
    "qwen3": {"attention_scale": 0.3},
    "smollm3": {"unrotated_layers": (1,)},
    "gpt2": {"num_kv_heads": 6},
    "gemma3_text": {
        "sliding_window": 8, "sliding_layers": (0, 1), "local_rope_theta": 100.0,
        "logit_softcap": 3.0, "head_dim": 40, "num_heads": 4, "num_kv_heads": 1,
    },
    "arcee": {},
}  # fmt: skip


def weights_of(shape: Architecture) -> dict[str, Tensor]:
    """Values of which every one matters."""
    numbers = torch.Generator().manual_seed(5)
    weights = {}
    for name, like in Decoder(shape).named_parameters():
        deviation = 0.3 if like.dim() == 1 else like.shape[1] ** -0.5
        weights[name] = deviation * torch.randn(like.shape, generator=numbers)
        if name.endswith("norm.weight"):
            weights[name] += 1.0
    return weights


def decoder(family: str = "llama", **settings: Any) -> Decoder:
    shape = Architecture.build({"family": family, **SIZES, **FAMILIES[family], **settings})
    return decoder_from(shape, weights_of(shape))


def held_as(dtype: str, **sizes: Any) -> tuple[Decoder, Decoder]:
    """A model whose weights are held as `dtype`, and one that has their values in float32."""
    given = {**SIZES, "hidden_size": 128, "intermediate_size": 192, **sizes}
    if dtype == "int4":  # torch packs 32 outputs together, with AVX-512 64
        given |= {"num_heads": 8, "num_kv_heads": 8 if sizes.get("family") == "gpt2" else 4}
    shape = Architecture.build(given)
    kept: dict[str, Tensor | Matrix] = {}
    for name, values in weights_of(shape).items():
        if dtype == "q8_0" and values.dim() == 2:
            raw = quants.quantize(values.numpy(), GGMLQuantizationType.Q8_0)
            kept[name] = of_blocks(Blocks(torch.from_numpy(raw), Q8_0))
        else:
            kept[name] = held(name, values, "bfloat16" if dtype == "q8_0" else dtype)
    plain = {
        name: one.dequantised() if isinstance(one, Matrix) else one.float()
        for name, one in kept.items()
    }
    return decoder_from(shape, kept), decoder_from(shape, plain)


def run(module: Decoder, cache: KVCache, turns: list[tuple[list[int], list[int]]]) -> list[Tensor]:
    """The logits of the kernels for some steps of (ids, slots)."""
    step = DecodeStep(module, cache)
    return [step(ids, slots) for ids, slots in turns]


@torch.inference_mode()
def by_torch(
    module: Decoder, cache: KVCache, turns: list[tuple[list[int], list[int]]]
) -> list[Tensor]:
    return [
        module(torch.tensor(ids)[:, None], cache.rows(slots, 1))[:, -1].float()
        for ids, slots in turns
    ]


@torch.inference_mode()
def read_by_torch(module: Decoder, cache: KVCache, ids: list[int]) -> Tensor:
    """The logits after each of a prompt for slot 1."""
    return module(torch.tensor([ids]), cache.rows([1], len(ids)))[0].float()


@torch.inference_mode()
def filled(module: Decoder, lengths: list[int], dtype: torch.dtype = torch.float32) -> KVCache:
    """A cache into which torch has read prompts of these lengths."""
    cache = KVCache(module.shape, len(lengths), 40, dtype)
    for slot, length in enumerate(lengths):
        ids = torch.arange(7 * slot, 7 * slot + length)[None] % module.shape.vocab_size
        if length:
            module(ids, cache.rows([slot], length))
    return cache


TURNS = [([3, 50, 9], [2, 0, 1]), ([4], [1]), ([7, 7], [0, 2]), ([1, 2, 3], [0, 1, 2])]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_is_torchs_step(family: str) -> None:
    module = decoder(family)
    assert why_not(module) is None
    ours, theirs = filled(module, [11, 0, 17]), filled(module, [11, 0, 17])
    for got, expected in zip(
        run(module, ours, TURNS), by_torch(module, theirs, TURNS), strict=True
    ):
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=2e-5)
    # What torch reads afterwards is the same as well.
    assert ours.lengths == theirs.lengths
    torch.testing.assert_close(ours.k_LSKCD, theirs.k_LSKCD, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(ours.v_LSKCD, theirs.v_LSKCD, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4", "q8_0"])
def test_weights_of_fewer_bits_are_multiplied_exactly(dtype: str) -> None:
    """Nearer to float32 than torch's own product, which rounds activations to bfloat16."""
    module, plain = held_as(dtype)
    assert why_not(module) is None
    exact = by_torch(plain, filled(plain, [9, 0, 20]), TURNS)
    rounded = by_torch(module, filled(module, [9, 0, 20], torch.bfloat16), TURNS)
    # The same prompt for both, from the exact model.
    got = run(module, filled(plain, [9, 0, 20]), TURNS)
    for ours, theirs, expected in zip(got, rounded, exact, strict=True):
        error = (ours - expected).abs().max()
        assert error < (1e-4 if dtype == "bfloat16" else 2e-2)  # the table is read in bfloat16
        assert error < 0.5 * (theirs - expected).abs().max()


def test_a_cache_in_bfloat16() -> None:
    module, plain = held_as("bfloat16")
    exact = by_torch(plain, filled(plain, [9, 0, 20]), TURNS)
    cache = filled(module, [9, 0, 20], torch.bfloat16)
    got = run(module, cache, TURNS)
    theirs = filled(module, [9, 0, 20], torch.bfloat16)
    by_torch(module, theirs, TURNS)
    for ours, expected in zip(got, exact, strict=True):
        torch.testing.assert_close(ours, expected, atol=5e-2, rtol=0)
    for ours, expected in ((cache.k_LSKCD, theirs.k_LSKCD), (cache.v_LSKCD, theirs.v_LSKCD)):
        torch.testing.assert_close(ours, expected, atol=5e-2, rtol=5e-2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int4", "q8_0"])
def test_a_row_does_not_depend_on_its_neighbours_nor_on_threads(dtype: str) -> None:
    module, plain = held_as(dtype)
    lengths = [5, 12, 0, 30, 7, 8, 9]
    before = torch.get_num_threads()
    # Filled with as many threads: torch's own products may depend on them.
    of_all, of_each = filled(plain, lengths), filled(plain, lengths)
    try:
        torch.set_num_threads(3)
        (together,) = run(module, of_all, [(list(range(7)), list(range(7)))])
        torch.set_num_threads(1)
        alone = run(module, of_each, [([slot], [slot]) for slot in range(7)])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_several_tokens_of_a_slot_are_read_as_one_after_the_other(dtype: str) -> None:
    """What is foretold is checked so: bit for bit what single steps give."""
    module, plain = held_as(dtype)
    lengths = [5, 12, 0, 30]
    ids, slots = [3, 4, 5, 6, 7, 8, 9], [3, 0, 0, 0, 1, 3, 3]
    cache = filled(plain, lengths)
    logits = DecodeStep(module, cache)(ids, slots)
    alone = filled(plain, lengths)
    step = DecodeStep(module, alone)
    for row, one in enumerate(zip(ids, slots, strict=True)):
        assert torch.equal(step([one[0]], [one[1]])[0], logits[row])
    assert cache.lengths == alone.lengths
    assert torch.equal(cache.k_LSKCD, alone.k_LSKCD)


LONG: dict[str, Any] = {
    "hidden_size": 128, "intermediate_size": 1152, "num_kv_heads": 3, "context_length": 320,
}  # fmt: skip
"""More inputs than a panel has, keys and values of 3 * 16 outputs, prompts of several reads."""


@pytest.mark.parametrize("dtype", ["int8", "int4", "q8_0"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_a_prompt_is_read_as_torch_reads_it(dtype: str, family: str) -> None:
    """Nearer to float32 than torch's own reading, which rounds activations to bfloat16."""
    sizes = LONG | {"family": family} | ({"num_kv_heads": 6} if family == "gpt2" else {})
    module, plain = held_as(dtype, **sizes)
    ids = [(7 * n * n + n) % 101 for n in range(300)]
    caches = [KVCache(plain.shape, 2, 310, torch.float32) for _ in range(2)]
    exact = read_by_torch(plain, caches[0], ids)[-5:]
    rounded = read_by_torch(module, KVCache(plain.shape, 2, 310, torch.bfloat16), ids)[-5:]
    step = DecodeStep(module, caches[1])
    got = step.read(ids, 1, 5)
    assert got.shape == (5, 101)
    error = (got - exact).abs().max()
    assert error < 2e-2  # the table is read in bfloat16
    assert error < 0.5 * (rounded - exact).abs().max()
    assert caches[1].lengths == [0, 300]
    after = by_torch(plain, caches[0], [([4], [1])])
    torch.testing.assert_close(step([4], [1]), after[0], atol=2e-2, rtol=0)


@pytest.mark.parametrize("dtype", ["int8", "int4", "q8_0"])
def test_reading_does_not_depend_on_where_a_prompt_is_cut_nor_on_threads(dtype: str) -> None:
    module, _ = held_as(dtype, **LONG)
    ids, before, found = [(3 * n * n) % 101 for n in range(200)], torch.get_num_threads(), []
    try:
        for threads, cuts in ((3, [0, 200]), (1, [0, 1, 8, 160, 200]), (2, [0, 32, 191, 200])):
            torch.set_num_threads(threads)
            cache = KVCache(module.shape, 1, 210, torch.bfloat16)
            step = DecodeStep(module, cache)
            parts = [step.read(ids[a:b], 0, b - a) for a, b in pairwise(cuts)]
            found.append((torch.cat(parts), cache.k_LSKCD[:, :, :, :200].clone()))
            assert step.read([5], 0, 0).shape == (0, 101)
    finally:
        torch.set_num_threads(before)
    for logits, keys in found[1:]:
        assert torch.equal(logits, found[0][0])
        assert torch.equal(keys, found[0][1])


def test_prompts_are_left_to_torch_where_weights_are_no_whole_numbers() -> None:
    for dtype, reads in (("float32", False), ("bfloat16", False), ("int8", True), ("int4", True)):
        module, _ = held_as(dtype)
        assert DecodeStep(module, KVCache(module.shape, 1, 40, torch.bfloat16)).reads == reads


def test_a_thread_that_never_comes_is_not_waited_for() -> None:
    module = decoder()
    crew = Crew()
    expected = run(module, filled(module, [5]), [([1], [0])])
    crew.hire = lambda: crew.bells.append(threading.Semaphore(0))  # type: ignore[method-assign]
    step = DecodeStep(module, filled(module, [5]), crew)
    step.num_threads = 4
    assert torch.equal(step([1], [0]), expected[0])
    assert len(crew.bells) == 3


def test_a_worker_who_comes_late_leaves_another_step_alone() -> None:
    """Called for step 7, awake when step 8 is running: what step 7 was about is gone."""
    module = decoder()
    step = DecodeStep(module, filled(module, [5]))
    kept: list[Any] = []

    class Listening(Crew):
        def run(self, shape: Any, work: Any) -> None:
            kept.append((shape, work))
            super().run(shape, work)

    step._crew = Listening()
    step([1], [0])
    assert step._counters.any()
    (shape, work), gate = kept[0], np.zeros(16, np.int64)
    gate[0] = 8
    step._counters[:] = 0  # as if all of it had yet to be done
    run_step(shape, work, gate.ctypes.data, 7, 1)
    assert not step._counters.any()
    assert gate.tolist() == [8] + [0] * 15


def test_two_steps_at_the_same_time() -> None:
    module = decoder()
    expected = run(module, filled(module, [5]), [([1], [0])] * 20)
    found: dict[int, list[Tensor]] = {}

    def work(number: int) -> None:
        found[number] = run(module, filled(module, [5]), [([1], [0])] * 20)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for number in range(3):
        assert torch.equal(torch.stack(found[number]), torch.stack(expected))


def test_it_is_compiled_before_it_is_asked_for() -> None:
    module = decoder()
    prepare(module)
    assert ready(module)
    assert ready(module)


def test_weights_that_change_are_read_anew() -> None:
    """Nothing is kept from one step's making to the next's."""
    module = decoder()
    run(module, filled(module, [5]), [([1], [0])])
    for one in module.parameters():
        one.data *= 1.5
    got = run(module, filled(module, [5]), [([1], [0])])
    expected = by_torch(module, filled(module, [5]), [([1], [0])])
    torch.testing.assert_close(got[0], expected[0], atol=2e-5, rtol=2e-5)


def test_what_they_cannot_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    module = decoder()
    adapters = Adapters(module)
    adapters.add("mine", LoRASettings(rank=2))
    assert "adapters" in str(why_not(module))
    assert why_not(module, adapters) is None  # whose rows somebody else computes
    hooked = decoder()
    hooked.layers[1].register_forward_hook(lambda *_: None)
    assert "layers.1" in str(why_not(hooked))
    assert "no multiple of 32" in str(why_not(decoder(hidden_size=80)))
    assert "no multiple of 8" in str(why_not(decoder(head_dim=12, num_heads=8)))
    assert "no kernel" in str(why_not(held_as("nf4")[0]))
    assert "Linear" in str(why_not(nn.Linear(2, 2)))
    assert "meta" in str(why_not(decoder().to("meta")))
    monkeypatch.setattr(cover, "find_spec", lambda name: None)
    assert "langwright[fast]" in str(why_not(decoder()))


def test_experts_are_left_to_torch() -> None:
    sizes = {**SIZES, "num_experts": 4, "experts_per_token": 2, "expert_size": 32}
    module = Decoder(Architecture.build({"family": "qwen3_moe", **sizes}))
    assert "experts" in str(why_not(module))
