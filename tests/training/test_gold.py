"""When what is meant has fallen, and what a run remembers of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from langwright.errors import BadInput, Damaged
from langwright.training.gold import FILE, Gold

HALF, MORE, LESS = ([1.0] * count + [0.0] * (64 - count) for count in (32, 40, 16))
SCARCELY_LESS = [0.0] * 2 + [1.0] * 38 + [0.0] * 24


def seen(folder: Path, *evaluations: tuple[float, list[float]]) -> Gold:
    gold = Gold("exact", 0, 64)
    gold.begin(folder, set())
    for number, (reward, values) in enumerate(evaluations):
        gold.add(10 * number, reward, values)
    return gold


def test_it_is_time_when_gold_has_fallen_and_the_reward_has_risen(tmp_path: Path) -> None:
    gold = seen(tmp_path, (0.1, HALF), (0.2, MORE), (0.3, LESS))
    assert gold.best == 10
    assert gold.stopped is not None
    assert "'exact' has fallen from 0.625 at step 10 to 0.25" in gold.stopped
    assert "rose from 0.2 to 0.3" in gold.stopped


def test_where_both_fall_it_is_time_at_the_second_evaluation(tmp_path: Path) -> None:
    fallen = (0.1, LESS)
    assert seen(tmp_path, (0.2, MORE), fallen).stopped is None
    # In a row: one that recovered is not counted.
    assert seen(tmp_path, (0.2, MORE), fallen, (0.2, MORE), fallen).stopped is None
    # What lay low before the best is no fall.
    assert seen(tmp_path, (0.1, LESS), (0.2, MORE), fallen).stopped is None
    told = seen(tmp_path, (0.2, MORE), fallen, fallen).stopped
    assert told is not None
    assert "two evaluations in a row" in told


def test_what_chance_explains_is_no_fall(tmp_path: Path) -> None:
    assert seen(tmp_path, (0.2, MORE), (0.9, SCARCELY_LESS), (0.9, SCARCELY_LESS)).stopped is None


def test_of_equal_evaluations_the_first_is_best(tmp_path: Path) -> None:
    assert seen(tmp_path, (0.1, LESS), (0.2, MORE), (0.3, MORE)).best == 10


def test_a_run_that_goes_on_forgets_what_is_ahead_of_it(tmp_path: Path) -> None:
    seen(tmp_path, (0.1, HALF), (0.2, MORE), (0.3, LESS))
    again = Gold("exact", 0, 64)
    again.begin(tmp_path, {0})
    assert again.best == 0
    assert again.stopped is None
    again.begin(tmp_path, {0, 10, 20})
    assert again.best == 10
    assert again.stopped is not None
    with pytest.raises(Damaged, match="not all evaluations"):
        again.begin(tmp_path, {0, 10, 30})
    assert len((tmp_path / FILE).read_text().splitlines()) == 3


def test_what_cannot_be_judged(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="7 held-out prompts are too few"):
        Gold("exact", 0, 7)
    with pytest.raises(BadInput, match="'exact' of an answer is no number"):
        seen(tmp_path, (0.0, [float("nan")] * 64))
