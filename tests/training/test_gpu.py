"""Training on a GPU: `pytest -m gpu`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from langwright.model import Architecture, Decoder
from langwright.model.attention import leave_apart_uncompiled
from langwright.model.cross_entropy import IGNORED, cross_entropy_sum
from langwright.store import Store
from langwright.training import pretrain, sft, verify_resume

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cap", [None, 15.0])
@pytest.mark.parametrize("words", [50, 8192, 20_000])
def test_loss_and_gradients_are_those_of_torch(
    words: int, cap: float | None, dtype: torch.dtype
) -> None:
    numbers = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 64, generator=numbers)
    weight = torch.randn(words, 64, generator=numbers) / 4
    targets = torch.randint(words, (300,), generator=numbers)
    targets[::5] = IGNORED
    there = [one.to("cuda", dtype).requires_grad_() for one in (hidden, weight)]
    exact = [one.detach().double().cpu().requires_grad_() for one in there]
    logits = exact[0] @ exact[1].T
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    expected = F.cross_entropy(logits, targets, reduction="sum")
    got = cross_entropy_sum(there[0], there[1], targets.cuda(), cap)
    near = 1e-4 if dtype == torch.float32 else 1e-2
    assert float(got.detach()) == pytest.approx(float(expected.detach()), rel=near)
    for ours, theirs in zip(
        torch.autograd.grad(got, there), torch.autograd.grad(expected, exact), strict=True
    ):
        assert (ours.double().cpu() - theirs).norm() < near * theirs.norm()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float8"])
def test_a_run_goes_on_bit_for_bit(
    store: Store, recipe: str, words: str, precision: str, compiled: bool
) -> None:
    """With measurements of other numbers of rows in between, which a run that goes on has not."""
    settings = {"steps": 12, "checkpoint_every": 4, "eval_every": 2, "compile": compiled}
    settings |= {"device": "cuda", "precision": precision, "corpus": words, "vocab_size": 320}
    told = pretrain(recipe, name="run", store=store, **settings)
    assert told["metrics"]["train_loss"] < 5
    assert verify_resume("run", store=store)["equal"]


def test_conversations_are_learnt_alike_twice(
    store: Store, recipe: str, words: str, home: Path
) -> None:
    there = {"device": "cuda", "precision": "bfloat16"}
    pretrain(recipe, name="base", store=store, corpus=words, steps=8, **there)
    talks = home / "talks.jsonl"
    lines = [{"prompt": f"the fox {n}", "completion": "sees a dog"} for n in range(40)]
    talks.write_text("\n".join(map(json.dumps, lines)))
    found = [
        sft(recipe, name=name, store=store, model="base", data=str(talks), **there)
        for name in ("one", "two")
    ]
    assert found[0]["weights_sha256"] == found[1]["weights_sha256"]


def test_blocks_are_compiled_once_however_many_documents_there_are() -> None:
    shape = Architecture(
        vocab_size=64, hidden_size=64, intermediate_size=128, num_layers=1, num_heads=2,
        num_kv_heads=2, head_dim=32, context_length=64,
    )  # fmt: skip
    module = Decoder(shape).to("cuda", torch.bfloat16)
    leave_apart_uncompiled()
    block = module.layers[0]
    block.forward = torch.compile(block.forward)  # type: ignore[method-assign]
    counted = torch._dynamo.utils.counters["stats"]
    graphs = []
    for lengths in ([64], [32, 32], [1, 2, 3, 58], [10] * 6 + [4]):
        module.hidden(torch.randint(0, 64, (1, 64), device="cuda"), lengths=lengths)
        graphs.append(counted["unique_graphs"])
    assert graphs[1] == graphs[-1]
