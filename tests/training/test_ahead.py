from __future__ import annotations

import threading
from contextlib import closing

import pytest

from langwright.training.ahead import Ahead


def test_the_next_one_is_made_before_it_is_asked_for() -> None:
    made, enough = list[int](), threading.Event()

    def make(number: int) -> int:
        made.append(number)
        if number == 6:
            enough.set()
        return number * number

    with closing(Ahead(make)) as ahead:
        assert ahead.get(5) == 25
        assert enough.wait(10)  # nobody has asked for 6
        assert ahead.get(6) == 36
        assert ahead.get(2) == 4  # back, as after an incident
        assert ahead.get(3) == 9
    assert made.count(6) == made.count(3) == 1


def test_what_it_raises_is_raised_where_it_is_asked_for() -> None:
    def make(number: int) -> int:
        if number == 1:
            raise ValueError("no batch 1")
        return number

    with closing(Ahead(make)) as ahead:
        assert ahead.get(0) == 0
        with pytest.raises(ValueError, match="no batch 1"):
            ahead.get(1)
