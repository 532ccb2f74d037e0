"""Memory and MFU in the lines of a run."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

import pytest
import torch
from tests.training.step_worker import DATA, LENGTH, SHAPE, fresh

from langwright.store import Store
from langwright.training import pretrain
from langwright.training.usage import Usage

CPU = torch.device("cpu")


@pytest.fixture
def h100(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """As on a machine with one, which is asked for its name and its memory only."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 5)
    return torch.device("cuda")


def test_mfu_is_work_over_what_all_devices_could_do(h100: torch.device) -> None:
    """6 FLOPs for each value of the matrices, and twice 6 for each position seen and dimension."""
    blocks = 2 * (16 * 32 + 2 * 16 * 16 + 32 * 16 + 3 * 16 * 32)
    flops = 6 * (blocks + 61 * 16) + 12 * 2 * LENGTH * 32
    assert SHAPE.flops_per_token(LENGTH) == flops
    # So many tokens that one device would be used to 40%, shared by two.
    tokens = int(0.4 * 989e12 / flops)
    found = Usage(fresh(), LENGTH, h100, ranks=2).of_step(tokens, seconds=1.0)
    assert found == {"memory_bytes": 5, "mfu": pytest.approx(0.2, abs=1e-4)}
    assert "mfu" not in Usage(torch.nn.Linear(2, 2), LENGTH, h100, 1).of_step(1, 1.0)


def test_tokens_read_are_those_without_padding() -> None:
    for name in ("pretrain", "pretrain unpacked"):
        read = sum(batch.tokens for batch in DATA[name](64))
        assert read == sum(batch.units for batch in DATA[name](64)), name  # all of them are learnt
    answers = DATA["sft"](64)
    assert sum(one.tokens for one in answers) == sum(
        b.tokens for b in DATA["pretrain unpacked"](64)
    )
    assert sum(one.units for one in answers) < sum(one.tokens for one in answers)


@pytest.mark.skipif(sys.platform == "win32", reason="is about what other systems tell")
def test_on_a_cpu_a_line_has_memory_and_no_mfu(store: Store, recipe: str, words: str) -> None:
    """The most that this process has had in memory; a CPU's peak stands in no data sheet."""
    tensors = torch.ones(2**20)
    pretrain(recipe, name="run", store=store, corpus=words, vocab_size=300, steps=2, device="cpu")
    lines = [line for line in store.run("run").read_metrics() if "loss" in line]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    for line in lines:
        # Linux sums its counters up for one of the two, and reads them roughly for the other.
        assert tensors.nbytes < line["memory_bytes"] <= unit * most * 1.01
        assert "mfu" not in line
