from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langwright.errors import BadInput, BadSettings
from langwright.text import Windows


@st.composite
def many_windows(draw: st.DrawFn) -> Windows:
    """Windows over tokens that are their own places in the stream."""
    context_length = draw(st.integers(1, 12))
    num_tokens = draw(st.integers(context_length + 1, 120))
    return Windows(
        np.arange(num_tokens, dtype=np.uint16),
        context_length,
        draw(st.integers(1, 9)),
        draw(st.integers(0, 2**40)),
    )


def epochs(windows: Windows, number: int) -> list[np.ndarray]:
    """The windows of the first epochs, each [num_windows, context_length + 1]."""
    total = windows.num_windows * number
    steps = -(-total // windows.batch_size)
    rows = np.concatenate([windows.batch(step) for step in range(steps)])[:total]
    return np.split(rows, number)


@given(many_windows())
def test_an_epoch_takes_each_window_of_the_stream_once(windows: Windows) -> None:
    length, num_tokens = windows.context_length, len(windows.tokens)
    for rows in epochs(windows, 3):
        assert rows.dtype == np.int64
        assert np.all(np.diff(rows) % num_tokens == 1)
        offset = next(o for o in range(length) if o in rows[:, 0])
        starts = {(offset + i * length) % num_tokens for i in range(num_tokens // length)}
        assert {int(start) for start in rows[:, 0]} == starts
        targets = rows[:, 1:].ravel()
        assert len(np.unique(targets)) == len(targets) == len(rows) * length
        assert num_tokens - len(targets) < length


@given(many_windows(), st.data())
def test_a_batch_does_not_depend_on_history(windows: Windows, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, 1000))
    for earlier in data.draw(st.lists(st.integers(0, 1000), max_size=4)):
        windows.batch(earlier)
    fresh = Windows(windows.tokens, windows.context_length, windows.batch_size, windows.seed)
    assert np.array_equal(windows.batch(step), fresh.batch(step))


@given(many_windows(), st.integers(1, 9))
def test_the_batch_size_only_cuts_the_order(windows: Windows, batch_size: int) -> None:
    other = Windows(windows.tokens, windows.context_length, batch_size, windows.seed)
    for ours, theirs in zip(epochs(windows, 2), epochs(other, 2), strict=True):
        assert np.array_equal(ours, theirs)


@given(many_windows(), st.integers(0, 1000))
def test_epoch_of_counts_windows(windows: Windows, step: int) -> None:
    assert windows.epoch_of(step) == step * windows.batch_size // windows.num_windows


def test_order_and_offset_change_with_epoch_and_seed() -> None:
    tokens = np.arange(10_000)
    orders = [rows[:, 0] for seed in (1, 2) for rows in epochs(Windows(tokens, 64, 8, seed), 5)]
    assert len({order.tobytes() for order in orders}) == 10
    assert len({int(order.min()) % 64 for order in orders}) > 5
    assert all(np.any(np.diff(order) < 0) for order in orders)


def test_every_token_becomes_a_target() -> None:
    windows = Windows(np.arange(127), 32, 3, seed=0)
    assert set(np.concatenate(epochs(windows, 200))[:, 1:].ravel().tolist()) == set(range(127))


def test_every_place_in_the_order_is_as_likely() -> None:
    windows = Windows(np.arange(4 * 8 + 3), 8, 4, seed=5)
    order = np.stack([rows[:, 0] // 8 for rows in epochs(windows, 2000)])
    counts = np.stack([(order == window).sum(0) for window in range(4)])
    assert np.abs(counts - 500).max() < 5 * (2000 * 0.25 * 0.75) ** 0.5


PROGRAM = """
import numpy as np
from langwright.text import Windows
windows = Windows(np.arange(1000), 7, 5, 42)
print([windows.batch(step).tolist() for step in (90, 3, 28)])
"""


def test_another_process_gets_the_same_batches() -> None:
    windows = Windows(np.arange(1000), 7, 5, 42)
    # Step 28 runs from the first epoch of 142 windows into the second.
    here = {step: windows.batch(step).tolist() for step in (3, 28, 90)}
    there = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert there.stdout.decode().strip() == str([here[90], here[3], here[28]])


def test_the_order_is_the_same_for_ever() -> None:
    """A run begun with an older version must go on with the order that it began with."""
    starts = Windows(np.arange(100), 10, 12, seed=7).batch(0)[:, 0]
    assert starts.tolist() == [77, 47, 17, 27, 37, 87, 97, 67, 57, 7, 80, 90]


def test_only_one_epoch_is_held() -> None:
    windows = Windows(np.zeros(100_000, dtype=np.uint16), 1, 1, 0)
    sizes = []
    for epoch in range(4):
        windows.batch(epoch * windows.num_windows)
        held = (v for v in vars(windows).values() if isinstance(v, np.ndarray))
        sizes.append(sum(v.nbytes for v in held))
    assert all(a == b for a, b in pairwise(sizes))


@pytest.mark.parametrize("num_tokens", [0, 1, 10])
def test_too_short_a_stream_is_an_error(num_tokens: int) -> None:
    with pytest.raises(BadInput, match=f"{num_tokens} tokens.* context window of 10") as error:
        Windows(np.arange(num_tokens), 10, 1, 0)
    assert "smaller context_length" in error.value.remedy
    assert Windows(np.arange(11), 10, 1, 0).batch(0).shape == (1, 11)


@pytest.mark.parametrize("settings", [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_settings_that_make_no_windows_are_errors(settings: tuple[int, int, int]) -> None:
    with pytest.raises(BadSettings, match="No windows"):
        Windows(np.arange(10), *settings)


def test_there_is_no_step_before_the_first() -> None:
    with pytest.raises(ValueError, match="step -1"):
        Windows(np.arange(10), 2, 2, 0).batch(-1)
