from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langwright.evaluation import edit_distance


@pytest.mark.parametrize(
    ("written", "reference", "edits"),
    [
        ("kitten", "sitting", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("flaw", "lawn", 2),
        ("ab", "ab", 0),
    ],
)
def test_textbook_distances(written: str, reference: str, edits: int) -> None:
    assert edit_distance(written, reference) == edits


def by_definition(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return by_definition(a[1:], b[1:])
    return 1 + min(by_definition(a[1:], b), by_definition(a, b[1:]), by_definition(a[1:], b[1:]))


@given(st.text("ab", max_size=5), st.text("abc", max_size=5))
def test_equals_the_definition(a: str, b: str) -> None:
    assert edit_distance(a, b) == by_definition(a, b) == edit_distance(b, a)
