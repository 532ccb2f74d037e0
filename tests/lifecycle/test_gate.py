"""Which of two models goes on: shown to be better at its aim, and not to be worse at the rest."""

from __future__ import annotations

import random

import pytest

from langwright.lifecycle.gate import Check, check, decide

N = 200


def verdicts(share: float, seed: int) -> list[tuple[float, float]]:
    chance = random.Random(seed)
    return [(float(chance.random() < share), 1.0) for _ in range(N)]


def test_a_check_is_paired_and_its_gain_has_a_sign() -> None:
    """Every item a tenth better: no doubt at all, however much the items differ among each other.
    For bits, less is better."""
    before = [(value / N, 1.0) for value in range(N)]
    after = [(top + 0.1, 1.0) for top, _ in before]
    found = check("t", after, before)
    assert (found.gain, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.after - found.before == pytest.approx(0.1)
    bits = check("bits", after, before, lower_is_better=True)
    assert (bits.gain, bits.low, bits.high) == pytest.approx((-0.1, -0.1, -0.1))
    assert not bits.better
    assert not bits.holds


@pytest.mark.parametrize(
    ("gain", "form_low", "bits_low", "promote", "why"),
    [
        (0.05, -0.01, -0.01, True, "better by 0.05"),
        (0.00, -0.01, -0.01, False, "no clear gain in aim"),
        (-0.05, 0.0, 0.0, False, "aim is worse by 0.05, though"),
        (0.05, -0.08, -0.01, False, "form may be worse by 0.08, beyond 0.05"),
        (0.05, -0.01, -0.30, False, "bits may be worse by 0.3"),
    ],
)
def test_what_is_promoted(
    gain: float, form_low: float, bits_low: float, promote: bool, why: str
) -> None:
    found = decide(
        [
            Check("aim", 0.3, 0.3 + gain, gain, gain - 0.02, gain + 0.02, 0.02, True),
            Check("form", 1, 1, 0.0, form_low, 0.01, 0.05, False),
            Check("bits", 2, 2, 0.0, bits_low, 0.01, 0.05, False),
        ]
    )
    assert found.promote is promote
    assert why in found.why


def test_an_unmeasured_aim_promotes_nothing() -> None:
    assert not decide([Check("form", 1, 1, 0.5, 0.4, 0.6, 0.05, False)]).promote


def test_equal_models_are_rarely_promoted() -> None:
    """Two models that are right on a third of the items each, by chance: the gate lets through what
    a test at 95% on one side of it must, a fortieth."""
    through = 0
    for seed in range(50):
        one, other = verdicts(1 / 3, 2 * seed), verdicts(1 / 3, 2 * seed + 1)
        through += decide([check("aim", one, other, aim=True)]).promote
    assert through <= 5
