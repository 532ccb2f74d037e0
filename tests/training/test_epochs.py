from __future__ import annotations

import numpy as np
import pytest

from langwright.training.epochs import Epochs, held_out


def test_an_epoch_has_every_example_once_and_no_step_is_too_small() -> None:
    sizes = np.random.default_rng(0).integers(1, 30, 500).tolist()
    epochs = Epochs(sizes, 100, seed=3)
    seen: list[int] = []
    step = 0
    while len(seen) < 3 * len(sizes):
        taken = epochs.step(step)
        assert sum(sizes[index] for index in taken) >= 100
        seen, step = seen + taken, step + 1
    for number in range(3):
        assert sorted(seen[number * 500 : number * 500 + 500]) == list(range(500))
    assert seen[:500] != seen[500:1000]
    # A resumed run asks for a later step first.
    assert Epochs(sizes, 100, seed=3).step(step - 1) == taken
    assert Epochs(sizes, 100, seed=4).step(0) != epochs.step(0)


def test_equal_keys_are_held_out_together() -> None:
    keys = [str(number % 5000).encode() for number in range(10_000)]
    out = held_out(keys, 0.1)
    assert out[:5000] == out[5000:]
    assert sum(out) / len(out) == pytest.approx(0.1, abs=0.02)
    # More examples move none of those that were there, but for a handful of them.
    assert held_out(keys[:1000], 0.1) == out[:1000]
    assert sum(held_out([b"a", b"b", b"c"], 1e-9)) == 1
