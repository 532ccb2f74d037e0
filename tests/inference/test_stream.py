from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langwright.inference import TextStream
from langwright.tokens import Tokenizer

TEXTS = st.one_of(
    st.text(max_size=20),
    st.text("aab你🙂é\n", max_size=20),
    st.just("🙂🙃🤖👨‍👩‍👧 你好，世界！"),
)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_pieces_are_whole_characters_and_join_to_the_text(
    small_tokenizer: Tokenizer, text: str
) -> None:
    stream = TextStream(small_tokenizer)
    pieces = [stream.feed(token) for token in small_tokenizer.encode(text)]
    pieces.append(stream.finish())
    assert "".join(pieces) == text
    for piece in pieces:
        assert piece.encode().decode() == piece
        assert "\ufffd" not in piece or "\ufffd" in text
    assert not stream.stopped


def test_a_character_comes_with_its_last_byte(small_tokenizer: Tokenizer) -> None:
    stream = TextStream(small_tokenizer)
    tokens = small_tokenizer.encode("🦊")
    assert len(tokens) > 1
    assert [stream.feed(token) for token in tokens] == [""] * (len(tokens) - 1) + ["🦊"]


def test_a_character_cut_in_two_shows_at_the_end(small_tokenizer: Tokenizer) -> None:
    stream = TextStream(small_tokenizer, stop=["x"])
    assert "".join(map(stream.feed, small_tokenizer.encode("a🦊")[:-1])) == "a"
    assert stream.finish() == "\ufffd"


def test_special_tokens_have_no_text(small_tokenizer: Tokenizer) -> None:
    stream = TextStream(small_tokenizer)
    for token in (*small_tokenizer.special.values(), small_tokenizer.vocab_size + 3):
        assert stream.feed(token) == ""
    assert stream.finish() == ""


@settings(max_examples=200, deadline=None)
@given(
    text=st.text("abc🙂", max_size=16),
    stops=st.lists(st.text("abc🙂", min_size=1, max_size=4), max_size=3),
)
def test_the_answer_ends_before_the_first_stop_string(
    small_tokenizer: Tokenizer, text: str, stops: list[str]
) -> None:
    """Character by character: the first stop string to be complete ends the answer."""
    expected = text
    for end in range(len(text) + 1):
        found = [text[:end].find(stop) for stop in stops if stop in text[:end]]
        if found:
            expected = text[: min(found)]
            break
    stream = TextStream(small_tokenizer, stops)
    shown = ""
    for token in [one for char in text for one in small_tokenizer.encode(char)]:
        shown += stream.feed(token)
        assert not any(stop in shown for stop in stops)
        if stream.stopped:
            break
    assert stream.stopped == (expected != text or any(stop in text for stop in stops))
    shown += stream.finish()
    assert shown == expected


@pytest.mark.parametrize(
    ("text", "stop", "shown"),
    [
        ("the lazy dog and", "zy d", "the la"),
        ("the lazy dog", "the lazy dog", ""),
        ("the lazy do", "dog", "the lazy do"),
        ("ababac", "abac", "ab"),
        ("好🙂好", "🙂", "好"),
    ],
)
def test_stop_strings_across_tokens(
    small_tokenizer: Tokenizer, text: str, stop: str, shown: str
) -> None:
    stream = TextStream(small_tokenizer, [stop])
    pieces = []
    for token in small_tokenizer.encode(text):
        pieces.append(stream.feed(token))
        if stream.stopped:
            break
    assert stream.stopped == (stop in text)
    assert "".join([*pieces, stream.finish()]) == shown


def test_of_two_stop_strings_in_one_token_the_earlier_counts(small_tokenizer: Tokenizer) -> None:
    (token,) = small_tokenizer.encode(" the")
    stream = TextStream(small_tokenizer, ["h", "the", "e"])
    assert (stream.feed(token), stream.stopped, stream.finish()) == (" ", True, "")


def test_what_may_begin_a_stop_string_is_held_until_it_is_certain(
    small_tokenizer: Tokenizer,
) -> None:
    stream = TextStream(small_tokenizer, ["<end>", "nd"])
    pieces = [stream.feed(token) for char in "a<en." for token in small_tokenizer.encode(char)]
    assert pieces == ["a", "", "", "", "<en."]
    stream = TextStream(small_tokenizer, ["<end>"])
    assert [stream.feed(token) for char in "<e" for token in small_tokenizer.encode(char)] == [
        "",
        "",
    ]
    assert stream.finish() == "<e"
