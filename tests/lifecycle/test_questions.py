from __future__ import annotations

import pytest

from langwright.errors import BadInput
from langwright.evaluation import follows_format
from langwright.lifecycle.questions import ANSWER_TOKENS, make_lesson
from langwright.text import Document
from langwright.tokens import Tokenizer


def article(title: str, text: str) -> Document:
    return Document(text=text, source=title, title=title)


NOUNS = [f"Thing {chr(65 + i // 26)}{chr(97 + i % 26)}" for i in range(450)]
TRAIN = [article(noun, f"A {noun} is made of wood. It is old. It is big.") for noun in NOUNS]


def test_definitions_begin_with_the_very_term(small_tokenizer: Tokenizer) -> None:
    train = [
        *TRAIN,
        article("Hat", "A hat is a head covering. Many wear one."),
        article("Mercury (planet)", "Mercury is the first planet from the Sun."),
        article("The Who", "The Who are an English band."),
        article("Art", "Artists make it."),
        article("Long", "Long is " + "very " * 200 + "long."),
    ]
    pairs = dict(make_lesson(train, [], small_tokenizer, 256).pairs)
    assert pairs["What is Hat?"] == "Hat is a head covering."
    assert pairs["What is Mercury?"] == "Mercury is the first planet from the Sun."
    assert pairs["What is The Who?"] == "The Who are an English band."
    assert "What is Art?" not in pairs  # "Artists" begins with another word
    assert "What is Long?" not in pairs
    for question, answer in pairs.items():
        assert len(small_tokenizer.encode(answer)) <= ANSWER_TOKENS
        if question.startswith("What is "):
            term = question.removeprefix("What is ").removesuffix("?")
            assert follows_format(term, answer, True, 10).ok or question == "What is Thing ?"


def test_terms_kept_back_occur_in_no_conversation(small_tokenizer: Tokenizer) -> None:
    validation = [article(name, f"{name} is.") for name in ("wood", "Zebra", "THING AA", "Quux")]
    lesson = make_lesson(TRAIN, validation, small_tokenizer, 256)
    assert [question.term for question in lesson.held_out] == ["Zebra", "Quux"]
    learnt = " ".join(f"{question} {answer}" for question, answer in lesson.pairs).casefold()
    assert not any(str(question.term).casefold() in learnt for question in lesson.held_out)
    # What the text says of them is known where it says so in a sentence of its own.
    assert [question.right for question in lesson.held_out] == ["Zebra is.", "Quux is."]
    # Each lesson can be practised on once; small talk cannot.
    practice = {question.prompt: question for question in lesson.practice}
    assert len(practice) == len(lesson.practice) == len(NOUNS)
    one = practice["What is Thing Aa?"]
    assert (one.term, one.right) == ("Thing Aa", "Thing Aa is made of wood.")


def test_text_without_titles_is_continued(small_tokenizer: Tokenizer) -> None:
    book = Document(text="It was dark. Rain fell. He ran. She hid.", source="book")
    other = Document(text="The sun rose. Birds sang.", source="other")
    lesson = make_lesson([book], [other], small_tokenizer, 256)
    assert ("Continue: It was dark.", "Rain fell.") in lesson.pairs
    assert ("Continue: He ran.", "She hid.") in lesson.pairs
    (kept,) = lesson.held_out
    assert (kept.prompt, kept.term, kept.right) == ("Continue: The sun rose.", None, "Birds sang.")


def test_text_without_sentences_is_refused(small_tokenizer: Tokenizer) -> None:
    with pytest.raises(BadInput, match="No conversation can be made"):
        make_lesson([Document(text="1 2 3", source="x")], [], small_tokenizer, 256)


def test_questions_leave_room_for_the_answer(small_tokenizer: Tokenizer) -> None:
    """A window of 128 less 60 for the answer and 32 for the template holds 36 tokens."""
    long = Document(text="A " + "very " * 60 + "long one. Short.", source="long")
    book = Document(text="It was. Rain.", source="book")
    lesson = make_lesson([long, book], [long, book], small_tokenizer, 128)
    prompts = {question.prompt for question in lesson.held_out}
    assert prompts == {"Continue: It was."}
    assert not any("very" in question for question, _ in lesson.pairs)
