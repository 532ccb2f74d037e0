"""The equality matrix: however a step is computed, its loss, its gradients and the weights after it
are the same, to TOLERANCE.

The reference is the textbook: one forward pass over each document by itself, whole logits, torch's
cross-entropy, one division by the number of targets.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.training import step_worker
from tests.training.step_worker import DATA, fresh, step
from torch._dynamo.utils import counters
from torch.nn import functional as F

from langwright.model import IGNORED, cross_entropy
from langwright.training.batch import MicroBatch
from langwright.training.learner import Learner

TOLERANCE = 2e-6
"""Of float32 sums in another order, the gradients being of the size of 0.1."""

RANKS = {
    "ddp 2": (2, {"parallel": "ddp"}),
    "fsdp 2": (2, {"parallel": "fsdp"}),
    "fsdp 2, muon": (2, {"parallel": "fsdp", "optimizer": "muon"}),
    "fsdp 2 x tensor 2": (4, {"parallel": "fsdp", "tensor_parallel": 2}),
}


def reference(data: str) -> dict[str, Any]:
    """Without anything of the training room but its batches of one row."""
    decoder = fresh()
    total, units = torch.zeros(()), 0
    unpacked = "pretrain unpacked" if data.startswith("pretrain") else "sft"
    for batch in DATA[unpacked](1):
        assert len(batch.ids_BT) == 1
        logits = decoder(batch.ids_BT)[0]
        total = total + F.cross_entropy(logits, batch.targets_BT[0], reduction="sum")
        units += int((batch.targets_BT != IGNORED).sum())
    (total / units).backward()
    gradients = {name: weight.grad for name, weight in decoder.named_parameters()}
    return {"loss": total.detach() / units, "gradients": gradients}


def require_equal(found: dict[str, Any], data: str) -> None:
    expected = reference(data)
    torch.testing.assert_close(found["loss"], expected["loss"], rtol=1e-6, atol=0)
    assert found["gradients"].keys() == expected["gradients"].keys()
    for name, gradient in expected["gradients"].items():
        assert gradient.abs().max() > 100 * TOLERANCE, name  # else equality would say nothing
        torch.testing.assert_close(found["gradients"][name], gradient, rtol=0, atol=TOLERANCE)
    norm = torch.stack([one.norm() for one in expected["gradients"].values()]).norm()
    torch.testing.assert_close(found["norm"], norm, rtol=1e-5, atol=0)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("micro_batch_tokens", [32, 64, 4096])
def test_one_process_in_any_pieces(data: str, micro_batch_tokens: int) -> None:
    require_equal(step(data, micro_batch_tokens), data)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("held", [1, 1000])
def test_any_chunk_of_the_loss(monkeypatch: pytest.MonkeyPatch, data: str, held: int) -> None:
    monkeypatch.setitem(cross_entropy._LOGITS, "cpu", held)
    monkeypatch.setattr(cross_entropy, "_LEAST_ROWS", 1)
    require_equal(step(data, 4096), data)


@pytest.mark.parametrize("data", DATA)
def test_activations_computed_twice(data: str) -> None:
    require_equal(step(data, 64, activation_checkpointing=True), data)


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("twice", [False, True])
def test_compiled(twice: bool) -> None:
    torch._dynamo.reset()
    counters.clear()
    for data in DATA:
        require_equal(step(data, 64, compile=True, activation_checkpointing=twice), data)
    # Equal in any case, were it compiled or not.
    assert counters["stats"]["unique_graphs"]


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """What every case of RANKS found for every kind of data, in two starts of processes."""
    folder, found = tmp_path_factory.mktemp("ranks"), {}
    for size in (2, 4):
        cases = [
            (name, data)
            for name, (ranks, _) in RANKS.items()
            if ranks == size
            for data in ("pretrain", "sft")
        ]
        words = [
            json.dumps(RANKS[name][1] | {"data": data, "micro_batch_tokens": 32})
            for name, data in cases
        ]
        out = folder / f"{size}.pt"
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        launch += ["--nproc-per-node", str(size), step_worker.__file__, str(out), *words]
        done = subprocess.run(launch, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found |= dict(zip(cases, torch.load(out, weights_only=True), strict=True))
    return found


@pytest.mark.parametrize("data", ["pretrain", "sft"])
@pytest.mark.parametrize("name", RANKS)
def test_several_processes(
    on_ranks: dict[tuple[str, str], dict[str, Any]], name: str, data: str
) -> None:
    found = on_ranks[name, data]
    size, how = RANKS[name]
    assert found["size"] == size > 1
    assert found["data_size"] == size // how.get("tensor_parallel", 1)
    held = {rank: tuple(batches) for rank, batches in found["held"]}
    assert len(held) == found["data_size"]
    everything = [one for batches in held.values() for one in batches]
    assert all(held.values())
    assert len(everything) == len(set(everything)) == len(DATA[data](32))  # each batch once
    require_equal(found, data)
    assert len(found["judged"]) == size
    assert len(set(found["judged"])) == 1  # loss and norm, to the bit
    alone = step(data, 32, optimizer=how.get("optimizer", "adamw"))
    for key, weight in alone["weights"].items():
        # AdamW's first step divides by the gradient's size, which magnifies the last bits.
        torch.testing.assert_close(found["weights"][key], weight, rtol=0, atol=2e-4)


def test_a_mean_of_means_would_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual mistake, put in by hand: each micro-batch's mean, averaged."""

    def gradients(
        self: Learner[Any], loss: Any, batches: list[MicroBatch], units: int, seed: int = 0
    ) -> torch.Tensor:
        total = torch.zeros(())
        for batch in batches:
            part = loss(self.module, batch) / batch.units / len(batches)
            part.backward()
            total += part.detach()
        return total

    monkeypatch.setattr(Learner, "gradients", gradients)
    for data in ("pretrain", "sft"):
        with pytest.raises(AssertionError):
            require_equal(step(data, 32), data)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_batches_are_of_unequal_size() -> None:
    """Else a mean of means would be right by chance."""
    for data in ("pretrain", "sft"):
        counts = {batch.units for batch in DATA[data](32)}
        assert len(counts) > 1, data
