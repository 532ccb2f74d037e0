"""Weights of 8 and 4 bits: equal to what they stand for, by kernel and without, forth and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from gguf import GGMLQuantizationType, quants
from torch import Tensor, nn

from langwright.errors import BadInput, Unsupported
from langwright.model import (
    Adapters,
    LoRASettings,
    ModelBundle,
    is_quantised,
    load_gguf,
    load_model,
    save_folder,
    torch_kernels,
    weights_sha256,
)
from langwright.model.blocks import Blocks
from langwright.model.gguf_write import save_gguf
from langwright.model.quantised import (
    NF4,
    Int4,
    Int8,
    Matrix,
    NormalFloat4,
    QuantisedEmbedding,
    QuantisedLinear,
    held,
    of_blocks,
)

Make = Callable[..., ModelBundle]
KINDS = ("Q8_0", "Q4_0", "Q4_1")
MAKERS: dict[str, Callable[[Tensor], Matrix]] = {
    "int8": Int8.of, "int4": Int4.of, "nf4": NormalFloat4,
}  # fmt: skip


def numbers(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def blocks_of(weights: Tensor, kind: str) -> Blocks:
    raw = quants.quantize(weights.numpy(), GGMLQuantizationType[kind])
    return Blocks(torch.from_numpy(raw), GGMLQuantizationType[kind])


def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose torch has none of the private operators."""
    for name in (
        "_weight_int8pack_mm", "_weight_int4pack_mm_for_cpu", "_convert_weight_to_int4pack_for_cpu",
    ):  # fmt: skip
        monkeypatch.delattr(torch, name)
    torch_kernels.has_int8.cache_clear()
    torch_kernels.int4_tile.cache_clear()


@pytest.fixture(params=["kernels", "without"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "without":
        no_kernels(monkeypatch)
        assert not torch_kernels.has_int8()
        assert torch_kernels.int4_tile() is None
    yield request.param
    torch_kernels.has_int8.cache_clear()
    torch_kernels.int4_tile.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_the_weights_that_gguf_reads(kind: str, kernels: str) -> None:
    """70 rows are no whole tiles of the kernel. The 4-bit scales lose three bits to bfloat16."""
    blocks = blocks_of(numbers(70, 96), kind)
    expected = torch.from_numpy(quants.dequantize(blocks.raw_NW.numpy(), blocks.kind))
    found = of_blocks(blocks).dequantised()
    if kind == "Q8_0":
        assert torch.equal(found, expected)
    else:
        assert (found - expected).abs().max() < 8 * 2**-8 * expected.abs().max() / 7


@pytest.mark.parametrize("rows", [1, 5, torch_kernels.FEW_ROWS + 3])
@pytest.mark.parametrize("kind", [*KINDS, *MAKERS])
def test_products_are_those_of_the_weights(kind: str, rows: int, kernels: str) -> None:
    weights = numbers(70, 192)
    matrix = MAKERS[kind](weights) if kind in MAKERS else of_blocks(blocks_of(weights, kind))
    x = numbers(2, rows, 192, seed=1).bfloat16()
    expected = x.float() @ matrix.dequantised().T
    found = matrix.product(x)
    assert found.dtype == torch.bfloat16
    assert found.shape == (2, rows, 70)
    assert (found.float() - expected).abs().max() < 0.01 * expected.abs().max()


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_no_weight_is_further_away_than_half_a_step(kind: str) -> None:
    weights = numbers(64, 128)
    gap = (MAKERS[kind](weights).dequantised() - weights).abs()
    if kind == "int8":
        step = weights.abs().amax(1, keepdim=True) / 127
        ends = weights.abs() >= 126.5 * step  # where the rounded scale may fall short
        assert bool((gap[~ends] <= 0.5 * step.expand_as(gap)[~ends] * 1.005).all())
        assert bool((gap <= step.expand_as(gap)).all())
    else:
        parts = weights.unflatten(1, (-1, 32))
        step = (parts.amax(-1) - parts.amin(-1)) / 15
        # Offset and scale are rounded to 8 bits on top.
        slack = 2**-8 * (parts.abs().amax(-1) + 15 * step)
        assert bool((gap.unflatten(1, (-1, 32)) <= (0.5 * step + slack)[..., None]).all())


def test_normal_float_has_the_published_values() -> None:
    """Section 3 and appendix E: averages of neighbouring quantiles of the normal, 8 on the right
    of zero and 7 on its left, scaled to 1 (the offset is that of the authors' code)."""
    offset = 0.9677083
    right = scipy.stats.norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    left = -scipy.stats.norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    values = np.sort(np.concatenate((right, [0.0], left)))
    assert np.abs(values / values.max() - NF4.numpy()).max() < 1e-6
    # Each weight takes the nearest of them.
    weights = numbers(4, 128)
    scale = weights.unflatten(1, (2, 64)).abs().amax(-1, keepdim=True)
    nearest = (weights.unflatten(1, (2, 64)) / scale)[..., None].sub(NF4).abs().argmin(-1)
    found = NormalFloat4(weights).dequantised()
    assert torch.equal(found, (NF4[nearest] * scale).flatten(1))


@pytest.mark.parametrize("kind", list(MAKERS))
def test_gradients_pass_through_to_what_comes_before(kind: str) -> None:
    linear = QuantisedLinear(MAKERS[kind](numbers(64, 64)))
    x = numbers(3, 64, seed=2).bfloat16().requires_grad_()
    kept: list[Tensor] = []

    def keep(one: Tensor) -> Tensor:
        kept.append(one)
        return one

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        y = linear(x)
    assert not kept  # no dequantised copy waits for the way back
    y.float().square().sum().backward()
    assert x.grad is not None
    expected = 2 * y.detach().float() @ linear.weight
    assert (x.grad.float() - expected).abs().max() < 0.01 * expected.abs().max()


def test_rows_of_a_table_are_looked_up() -> None:
    weights = numbers(50, 64)
    ids = torch.tensor([[0, 49, 7], [7, 7, 1]])
    for matrix in (Int8.of(weights), of_blocks(blocks_of(weights, "Q8_0"))):
        table = QuantisedEmbedding(matrix)
        assert torch.equal(table(ids), table.weight[ids].bfloat16())


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "q4_1"])
def test_a_gguf_of_blocks_stays_in_them(
    family: str, kind: str, make_model: Make, tmp_path: Path
) -> None:
    """Also the rows that llama's files hold in another order, and gpt2's in one matrix."""
    own: dict[str, Any] = {"num_kv_heads": 4, "head_dim": 8} if family == "gpt2" else {}
    save_gguf(tmp_path / "a.gguf", make_model(family=family, **own), kind)
    exact, found = load_gguf(tmp_path / "a.gguf"), load_gguf(tmp_path / "a.gguf", "auto")
    linears = [one for one in found.module.modules() if isinstance(one, QuantisedLinear)]
    plain = [one for one in found.module.modules() if isinstance(one, nn.Linear)]
    assert linears
    assert not plain
    assert found.module.dtype == torch.bfloat16
    for name, one in found.module.named_modules():
        if isinstance(one, QuantisedLinear | QuantisedEmbedding):
            other = exact.module.get_submodule(name).weight
            assert (one.weight - other).abs().max() < 0.02 * other.abs().max()
    ids = torch.randint(0, 300, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, expected = found.module(ids).float(), exact.module(ids)
    assert (logits - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4", "nf4"])
def test_a_model_is_held_in_fewer_bits(dtype: Any, make_model: Make, tmp_path: Path) -> None:
    sizes = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}
    model = make_model(**sizes)
    save_folder(tmp_path, model)
    found = load_model(tmp_path, dtype)
    linears = {
        name: one.matrix.num_bytes * 8 / (one.in_features * one.out_features)
        for name, one in found.module.named_modules()
        if isinstance(one, QuantisedLinear) and name != "lm_head"
    }
    most = {"int8": 8.2, "int4": 5.0, "nf4": 4.5}
    assert len(linears) == (0 if dtype == "bfloat16" else 14)
    assert all(bits <= most[dtype] for bits in linears.values())
    ids = torch.randint(0, 300, (1, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = found.module(ids).float().log_softmax(-1)
        whole = model.module(ids).log_softmax(-1)
    lost = float((whole.exp() * (whole - ours)).sum(-1).mean())
    assert lost < {"bfloat16": 0.001, "int8": 0.005, "int4": 0.1, "nf4": 0.1}[dtype]
    assert found.module.rotary.frequencies.dtype == torch.float32


def test_a_folder_is_held_as_stored(make_model: Make, tmp_path: Path) -> None:
    for dtype, expected in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        folder = tmp_path / dtype
        folder.mkdir()
        save_folder(folder, make_model(), dtype=dtype)
        assert load_model(folder, "auto").module.dtype == expected


def test_quantised_models_are_neither_saved_nor_merged(make_model: Make, tmp_path: Path) -> None:
    save_folder(tmp_path, make_model())
    model = load_model(tmp_path, "int8")
    assert is_quantised(model.module)
    for save in (
        lambda: save_folder(tmp_path, model),
        lambda: save_gguf(tmp_path / "a.gguf", model),
        lambda: weights_sha256(model.module),
    ):
        with pytest.raises(Unsupported, match="quantised"):
            save()
    adapters = Adapters(model.module)
    adapters.add("one", LoRASettings(rank=2))
    with pytest.raises(BadInput, match="merged into"):
        adapters.merge("one")
    with pytest.raises(BadInput, match="int3"):
        load_model(tmp_path, "int3")  # type: ignore[arg-type]


@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_learns_beside_nf4(dora: bool, make_model: Make, tmp_path: Path) -> None:
    """QLoRA: its gradients are those beside the dequantised weights."""
    save_folder(tmp_path, make_model(hidden_size=64, intermediate_size=128))
    models = [load_model(tmp_path, "nf4").module, load_model(tmp_path, "bfloat16").module]
    with torch.no_grad():
        for name, one in models[0].named_modules():
            if isinstance(one, QuantisedLinear):
                models[1].get_submodule(name).weight.copy_(one.weight)
    ids = torch.randint(0, 300, (2, 12), generator=torch.Generator().manual_seed(0))
    grads = []
    for module in models:
        adapters = Adapters(module)
        adapters.add("one", LoRASettings(rank=4, dora=dora))
        for parameter in adapters.parameters("one"):
            if parameter.dim() == 2 and not parameter.any():
                parameter.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
        with adapters.use("one"):
            module(ids).float().log_softmax(-1).square().mean().backward()
        grads.append([one.grad for one in adapters.parameters("one")])
        assert all(one.grad is None for one in module.parameters() if one.dtype == torch.bfloat16)
    for one, other in zip(*grads, strict=True):
        assert one is not None
        assert other is not None
        assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), 0) > 0.99


def test_damaged_scales_are_refused(make_model: Make, tmp_path: Path) -> None:
    model = make_model(family="llama")
    with torch.no_grad():
        model.module.layers[0].mlp.up_proj.weight[3, 5] = 3e38
    save_gguf(tmp_path / "a.gguf", model, "q8_0")  # the scale is infinite in half precision
    with pytest.raises(BadInput, match=r"up_proj\.weight' that are not numbers"):
        load_gguf(tmp_path / "a.gguf", "auto")


def test_positions_and_vectors_are_never_quantised() -> None:
    for name, size in (
        ("embed_positions.weight", (8, 64)),
        ("layers.0.mlp.gate.weight", (8, 64)),
        ("norm.weight", (64,)),
    ):
        for dtype in ("int8", "int4", "nf4"):
            found = held(name, torch.zeros(size), dtype)
            assert isinstance(found, Tensor)
            assert found.dtype == torch.bfloat16
