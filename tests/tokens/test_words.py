"""Words are counted where a script shows them."""

from __future__ import annotations

import pytest

from langwright.tokens import count_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("one", 1),
        ("The cat's “tail” -- isn't 3.5 m long.\n", 7),
        ("नमस्ते दुनिया", 2),
        ("한국어 문장", 2),
        ("total = 3  # 你好", 3),
        ("3.14,2.72\n1.41", 3),
        ("return self.items[key] + (x_1, {'a': b})", 6),
        ("你好，世界！", None),
        ("これはペンです。", None),
        ("สวัสดีชาวโลก", None),
        ("ChatGPT 是一个由人工智能公司开发的聊天机器人程序", None),
    ],
)
def test_words_are_those_between_blanks_unless_there_are_none(text: str, words: int | None) -> None:
    assert count_words(text) == words


def test_a_long_run_takes_linear_time() -> None:
    """A quarter of an hour, if each place were tried again."""
    assert count_words("!" * 2_000_000) == 0
