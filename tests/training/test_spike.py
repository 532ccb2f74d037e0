from __future__ import annotations

import math
import random

import pytest

from langwright.training.guard import PATIENCE, judge, window_of
from langwright.training.spike import doubled, excess
from langwright.training.state import GuardState


def curve(seed: int, noise: float, steps: int = 100, fall: float = 0.0) -> list[float]:
    """Losses around 3 with normal noise of their logarithm, which falls by `fall` each step."""
    draw = random.Random(seed)
    return [3 * math.exp(draw.gauss(-fall * step, noise)) for step in range(steps)]


@pytest.mark.parametrize("fall", [0.0, 0.01])
def test_the_noise_is_the_standard_deviation_of_the_logarithm_also_where_the_curve_falls(
    fall: float,
) -> None:
    noise = 0.1
    for seed in range(5):
        losses = curve(seed, noise, fall=fall)
        level = math.log(sorted(losses)[50])
        # Distances between neighbours estimate it to about a tenth from a hundred values.
        assert excess(losses, math.exp(level + 8 * noise), 1e-9) == pytest.approx(8, rel=0.35)


def test_it_is_one_sided_and_unknown_at_the_start() -> None:
    losses = curve(0, 0.05)
    assert excess(losses, 1.0, 0.02) < 0
    assert excess(losses[:19], 1000.0, 0.02) == 0
    assert excess([], math.nan, 0.02) == excess(losses, math.inf, 0.02) == math.inf


def test_a_flat_curve_does_not_make_everything_a_spike() -> None:
    assert excess([3.0] * 50, 3.3, 0.02) == pytest.approx(math.log(1.1) / 0.02)


def test_a_loss_that_goes_below_zero_has_no_scale() -> None:
    assert excess([-0.1, 0.2] * 20, 5.0, 0.02) == 0
    assert not doubled([-0.1] * 10, [5.0] * 10)


def test_doubled_looks_at_medians() -> None:
    assert doubled([3.0] * 10, [6.1] * 10)
    assert not doubled([3.0] * 10, [2.0] * 6 + [100.0] * 4)
    assert not doubled([3.0] * 9, [100.0] * 10)


def test_windows_are_those_in_order_without_the_skipped() -> None:
    skipped = [0, 3, 4, 5, 9]
    expected = [window for window in range(30) if window not in skipped][:20]
    assert [window_of(step, skipped) for step in range(20)] == expected


def test_the_verdict_is_a_function_of_what_a_checkpoint_holds() -> None:
    memory = GuardState(losses=curve(0, 0.05), norms=curve(1, 0.3), first=[5.0] * 10)
    assert judge(memory, 3.1, 3.0, 10).decision == "accept"
    assert judge(memory, 3.1, 3000.0, 10).decision == "skip"
    for refused, decision in zip(range(PATIENCE), ["skip", "skip", "rollback"], strict=True):
        memory.refused = refused
        assert judge(memory, 7.0, 3.0, 10).decision == decision
        assert judge(memory, math.nan, 3.0, 10).decision == decision
    slow = GuardState(losses=curve(0, 0.9) + [11.0] * 9, norms=[1.0] * 100, first=[5.0] * 10)
    assert judge(slow, 11.0, 1.0, 10).decision == "rollback"
