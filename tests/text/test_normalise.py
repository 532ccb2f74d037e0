from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langwright.text import normalise

# Plain text() seldom draws the characters that the rules are about.
TEXTS = st.text() | st.text(alphabet="a e\u0301\r\n\t\x00\x0b\x85\u00a0\u2007\u202f\u3000\u2028é한")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("a\x00b\x1bc\x7fd\x9fe", "abcde"),
        ("a\tb", "a\tb"),
        ("a\u00a0b\u2007c\u202fd", "a b c d"),
        ("e\u0301", "é"),
        ("e\x00\u0301", "é"),
        ("a \t\nb", "a\nb"),
        ("a\n\nb", "a\n\nb"),
        ("a\n\n\nb", "a\n\nb"),
        ("a\n\n\n\nb", "a\n\nb"),
        ("a\n \n\t\n\nb", "a\n\nb"),
        ("a\n    b", "a\n    b"),
        ("\n  a\n\n", "a"),
        ("\u00a0\r\n", ""),
    ],
)
def test_rules(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


@given(TEXTS)
@example("e\x00\u0301")
@example("a\r\x00\nb")
def test_twice_is_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(TEXTS)
def test_what_comes_out(text: str) -> None:
    result = normalise(text)
    assert unicodedata.is_normalized("NFC", result)
    assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in result)
    assert "\n\n\n" not in result
    assert all(line == line.rstrip() for line in result.split("\n"))
    assert result == result.strip()


def test_a_long_run_of_spaces_takes_linear_time() -> None:
    started = time.perf_counter()
    normalise("a" + " " * 1_000_000 + "b")
    assert time.perf_counter() - started < 2
