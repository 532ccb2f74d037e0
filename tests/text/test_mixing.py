from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langwright.errors import BadSettings
from langwright.text import Mixture, PackedRow, Source


@dataclass
class Numbers:
    """Rows that tell their source and index."""

    mark: int
    num_rows: int = 10

    def row(self, index: int) -> PackedRow:
        return PackedRow(np.array([self.mark]), np.array([index]), (1,))

    def documents(self, index: int) -> list[int]:
        return [index]

    def tokens_before(self, index: int) -> int:
        return index


def mixture(weights: list[float], rows_per_step: int = 4, steps: int = 50) -> Mixture:
    sources = [Source(str(n), Numbers(n), weight) for n, weight in enumerate(weights)]
    return Mixture(sources, rows_per_step, steps)


def read(mixed: Mixture, steps: int) -> list[tuple[int, int]]:
    rows = [row for step in range(steps) for row in mixed.rows(step)]
    return [(int(row.inputs[0]), int(row.targets[0])) for row in rows]


some_weights = st.lists(
    st.floats(0.01, 100).map(lambda value: round(value, 3)), min_size=1, max_size=5
)


@given(some_weights, st.integers(1, 9), st.integers(1, 40))
def test_each_source_is_read_in_order_and_nothing_left_out(
    weights: list[float], rows_per_step: int, steps: int
) -> None:
    mixed = mixture(weights, rows_per_step, steps)
    rows = read(mixed, steps)
    assert len(rows) == rows_per_step * steps
    for source, drawn in enumerate(mixed.drawn):
        assert [index for mark, index in rows if mark == source] == list(range(drawn))
    assert mixed.epochs == {str(n): drawn / 10 for n, drawn in enumerate(mixed.drawn)}
    assert mixed.trained == mixed.drawn


@given(some_weights, st.integers(1, 9), st.integers(1, 200))
def test_after_any_step_each_source_has_had_its_share(
    weights: list[float], rows_per_step: int, steps: int
) -> None:
    rows = rows_per_step * steps
    for weight, drawn in zip(weights, mixture(weights, rows_per_step, steps).drawn, strict=True):
        assert abs(drawn - rows * weight / sum(weights)) <= len(weights)


@given(some_weights, st.integers(1, 9), st.integers(0, 30))
def test_the_documents_of_a_step_are_told_row_by_row(
    weights: list[float], rows_per_step: int, step: int
) -> None:
    mixed = mixture(weights, rows_per_step)
    rows = [(int(row.inputs[0]), int(row.targets[0])) for row in mixed.rows(step)]
    assert [documents for [documents] in mixed.documents(step)] == rows


def test_seven_to_three_takes_turns() -> None:
    marks = [mark for mark, _ in read(mixture([0.7, 0.3], rows_per_step=1), 10)]
    assert marks == [0, 1, 0, 0, 0, 1, 0, 0, 1, 0]


@given(some_weights, st.lists(st.integers(0, 1000), min_size=1, max_size=5))
def test_a_step_does_not_depend_on_history(weights: list[float], steps: list[int]) -> None:
    used = mixture(weights)
    for step in steps:
        used.rows(step)
    fresh = mixture(weights)
    assert [tuple(row.targets) for row in used.rows(steps[0])] == [
        tuple(row.targets) for row in fresh.rows(steps[0])
    ]


def test_a_run_that_needs_more_than_declared_is_refused_with_its_numbers() -> None:
    small = Source("small", Numbers(0, num_rows=30), 0.25, epochs=2)
    large = Source("large", Numbers(1, num_rows=1000), 0.75, epochs=1)
    enough = Mixture([small, large], rows_per_step=8, steps=30)
    assert enough.drawn == [60, 180]
    assert enough.epochs == {"small": 2.0, "large": 0.18}
    with pytest.raises(BadSettings, match=r"62 rows of 'small', 2\.07 epochs of its 30") as error:
        Mixture([small, large], rows_per_step=8, steps=31)
    assert "declared are 2" in str(error.value)
    assert "large" not in str(error.value)
    assert "'small' to 2.07" in error.value.remedy


def test_without_a_declaration_a_source_is_read_without_end() -> None:
    assert Mixture([Source("a", Numbers(0))], 8, 1000).epochs == {"a": 800.0}


def test_a_source_named_twice_is_refused() -> None:
    with pytest.raises(BadSettings, match="twice: a, a"):
        Mixture([Source("a", Numbers(0)), Source("a", Numbers(1))], 1, 1)


def test_there_is_no_step_before_the_first() -> None:
    with pytest.raises(ValueError, match="step -1"):
        mixture([1.0]).rows(-1)
