"""Agreement against what others computed by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from langwright.errors import BadInput
from langwright.evaluation import agreement, cohen_kappa, krippendorff_alpha


def columns(*rows: str) -> list[list[str | None]]:
    """Units of raters' rows; a dot is no label."""
    split = [[None if label == "." else label for label in row.split()] for row in rows]
    return [list(unit) for unit in zip(*split, strict=True)]


FOUR_OBSERVERS = columns(
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


@pytest.mark.parametrize(
    ("units", "published"),
    [
        # Krippendorff 2011, examples A, B and C.
        (columns("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"), 0.095),
        (columns("a a b b d c c c e d d a", "b a b b b c c c e d d d"), 0.692),
        (FOUR_OBSERVERS, 0.743),
    ],
)
def test_alpha_is_that_of_krippendorffs_examples(
    units: list[list[str | None]], published: float
) -> None:
    alpha = krippendorff_alpha(units)
    assert alpha == pytest.approx(published, abs=5e-4)
    assert agreement(units).alpha.value == alpha


@pytest.mark.parametrize(
    ("table", "by_hand"),
    [
        # Both yes, only the first, only the second, both no: p_o and p_e in fractions.
        ((20, 5, 10, 15), 0.4),  # (0.7 - 0.5) / 0.5
        ((45, 15, 25, 15), 0.06 / 0.46),  # (0.60 - 0.54) / 0.46
        ((25, 35, 5, 35), 0.14 / 0.54),  # (0.60 - 0.46) / 0.54
    ],
)
def test_kappa_is_that_reckoned_by_hand(table: tuple[int, int, int, int], by_hand: float) -> None:
    first, second = [], []
    for count, pair in zip(table, ("yy", "yn", "ny", "nn"), strict=True):
        first += [pair[0]] * count
        second += [pair[1]] * count
    assert cohen_kappa(first, second) == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_kappa_equals_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    first = random.integers(4, size=60).tolist()
    second = [one if random.random() < 0.5 else int(random.integers(4)) for one in first]
    expected = cohen_kappa_score(first, second)
    assert cohen_kappa(first, second) == pytest.approx(expected, abs=1e-12)
    found = agreement([list(pair) for pair in zip(first, second, strict=True)]).kappa
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-12)


def test_alpha_does_not_care_for_the_names_of_labels_the_order_of_raters_or_lonely_labels() -> None:
    alpha = krippendorff_alpha(FOUR_OBSERVERS)
    renamed = [[label and f"<{label}>" for label in unit[::-1]] for unit in FOUR_OBSERVERS]
    assert krippendorff_alpha([*renamed, ["<9>", None, None, None]]) == pytest.approx(alpha)


def test_perfect_agreement_is_one_and_opposite_labels_are_below_zero() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1.0
    assert cohen_kappa(["a", "b"], ["a", "b"]) == 1.0
    assert cohen_kappa(["a", "b"], ["b", "a"]) == -1.0
    assert krippendorff_alpha([["a", "b"], ["b", "a"]]) == pytest.approx(-0.5)  # 1 - 3 * 4 / 8


def test_one_label_for_all_has_no_coefficient() -> None:
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None
    found = agreement([["a", "a"], ["a", "a"]])
    assert (found.share.value, found.alpha.value) == (1.0, None)


def test_the_share_is_that_of_the_pairs_of_raters() -> None:
    # Of the first unit 1 pair of 3 agrees, each label weighing 1 / (3 - 1); of the second, all.
    found = agreement([["a", "a", "b"], ["c", "c", None], ["d", None, None]])
    assert found.units == 2
    assert found.share.value == pytest.approx((3 * 1 / 3 + 2 * 1) / 5)
    assert found.kappa is None  # three raters


def test_the_intervals_cover_what_the_units_are_drawn_from() -> None:
    """Two raters who agree by a coin of 0.7 and else guess between two labels: 85% in the long
    run, and kappa and alpha 0.7."""
    inside = {"share": 0, "alpha": 0, "kappa": 0}
    for seed in range(100):
        random = np.random.default_rng(seed)
        first = random.integers(2, size=80)
        second = np.where(random.random(80) < 0.7, first, random.integers(2, size=80))
        found = agreement(np.stack([first, second], 1).tolist(), seed)
        assert found.kappa is not None
        inside["share"] += found.share.low <= 0.85 <= found.share.high
        for name, one in (("alpha", found.alpha), ("kappa", found.kappa)):
            assert one.low is not None
            assert one.high is not None
            inside[name] += one.low <= 0.7 <= one.high
    assert all(88 <= count <= 99 for count in inside.values()), inside


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(BadInput, match="2 labels stand against 1"):
        cohen_kappa(["a", "b"], ["a"])
    with pytest.raises(BadInput, match="two raters"):
        krippendorff_alpha([["a", None], [None, "b"]])
