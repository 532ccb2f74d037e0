"""What counts as a right answer."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from langwright.errors import BadInput
from langwright.evaluation.graders import Exact, Form, Number, Pattern, last_number
from langwright.evaluation.graders.form import RULES, keeps


def hit(grader: Any, answer: str, *answers: str, **row: Any) -> float:
    scores = grader.grade(answer, answers, row, "row 1")
    top, bottom = next(iter(scores.values()))
    return float(top / bottom)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", 42),
        ("She has 1,234,567 of them", 1234567),
        ("costs $1,234.50", Fraction("1234.5")),
        ("48/2 = <<48/2=24>>24 clips. #### 72", 72),
        ("about 3/4 of it", Fraction(3, 4)),
        ("1 1/2 cups", Fraction(3, 2)),
        ("it is -7", -7),
        ("−7 degrees", -7),
        ("10-3", 3),
        ("(5)-3", 3),
        ("-1/2", Fraction(-1, 2)),
        ("12,34", 34),
        ("1/2/2020", 2020),
        ("0.5%", Fraction(1, 2)),
        (".25", Fraction(1, 4)),
        ("6.02e23", 602 * 10**21),
        ("1/0", None),
        ("none at all", None),
        ("9" * 5000, None),
        ("1e999999999", 999999999),
    ],
)
def test_the_last_number_of_a_text(text: str, number: Any) -> None:
    assert last_number(text) == number


def test_numbers_are_equal_whatever_their_spelling() -> None:
    assert hit(Number(), "So it is $1,200.00.", "1200") == 1
    assert hit(Number(), "0.75", "3/4") == 1
    assert hit(Number(), "first 5, no: 6", "5") == 0
    assert hit(Number(), "3.14", "3.14159") == 0
    assert hit(Number(tolerance=0.01), "3.14", "3.14159") == 1
    assert hit(Number(), "no idea", "5") == 0
    assert Number().vote("it is 0.50") == Number().vote("1/2")
    with pytest.raises(BadInput, match="no number in the right answer"):
        hit(Number(), "5", "five")


def test_exact_answers() -> None:
    assert hit(Exact(), " Paris.\n", "paris") == 1
    assert hit(Exact(), "PARIS", "London", "Paris") == 1
    assert hit(Exact(), "Paris, France", "Paris") == 0
    assert hit(Exact(ignore_case=False), "paris", "Paris") == 0
    squad = Exact(ignore_punctuation=True, ignore_articles=True)
    assert hit(squad, "The  cat's-paw", "a cats paw") == 0
    assert hit(squad, "The  cat's paw!", "a cats paw") == 1
    assert hit(Exact(), "cafe\u0301", "caf\u00e9") == 1


def test_a_pattern_may_come_from_the_row() -> None:
    grader = Pattern(pattern=r"\b{{ word }}\b")
    assert hit(grader, "the cat sat", word="cat") == 1
    assert hit(grader, "concatenate", word="cat") == 0
    assert hit(Pattern(pattern="a+", whole=True), " aaa\n") == 1
    assert hit(Pattern(pattern="a+", whole=True), "aab") == 0
    with pytest.raises(BadInput, match="no regular expression"):
        hit(Pattern(pattern="("), "x")


@pytest.mark.parametrize(
    ("rule", "value", "good", "bad"),
    [
        ("min_words", 3, "one two three", "one two"),
        ("max_words", 2, "it's fine", "one two three"),
        ("min_sentences", 2, "One. Two.", "One, e.g. this."),
        ("max_sentences", 1, "Dr. No came.", "One. Two."),
        ("max_characters", 3, "abc", "abcd"),
        ("paragraphs", 2, "a\n\nb", "a\nb"),
        ("bullets", 2, "- a\n* b", "- a\n-b"),
        ("json", True, '```json\n{"a": 1}\n```', "{'a': 1}"),
        ("json", False, "words", "[]"),
        ("json_keys", ["a"], '{"a": 1, "b": 2}', '{"b": 2}'),
        ("contains", ["Cat", "dog"], "a dog and a cat", "a dog"),
        ("lacks", ["cat"], "a dog", "a Cat"),
        ("begins", "Yes", "Yes, it is", "Oh yes"),
        ("ends", "!", "Indeed!", "Indeed."),
        ("term", "Rust", "The rust is red.", "Rusty"),
        ("lowercase", True, "all low", "Not low"),
        ("uppercase", True, "LOUD", "Loud"),
        ("commas", False, "one two", "one, two"),
        ("matches", "[a-c]+", "abc", "abcd"),
    ],
)
def test_rules_of_form(rule: str, value: Any, good: str, bad: str) -> None:
    assert keeps(good, rule, value)
    assert not keeps(bad, rule, value)


def test_every_rule_is_tried_above() -> None:
    (marks,) = (mark for mark in test_rules_of_form.pytestmark if mark.name == "parametrize")
    assert {rule for rule, *_ in marks.args[1]} == set(RULES)


def test_a_form_is_right_when_all_its_rules_are_kept() -> None:
    grader = Form(rules={"max_words": 3, "ends": "."}, row_rules="rules")
    scores = grader.grade("One two three", (), {"rules": {"begins": "One"}}, "row 1")
    assert scores["prompt_level_strict_acc"] == (0, 1)
    assert scores["inst_level_strict_acc"] == (2, 3)
    assert grader.grade("One.", (), {"rules": {}}, "")["prompt_level_strict_acc"] == (1, 1)
    for rules, said in (({"max_word": 3}, "no rule 'max_word'"), ({"max_words": "3"}, "'3'")):
        with pytest.raises(BadInput, match=said):
            Form(rules=rules).grade("x", (), {}, "row 1")
    with pytest.raises(BadInput, match="True"):
        Form(rules={"max_words": True}).grade("x", (), {}, "row 1")
    with pytest.raises(BadInput, match="no rule"):
        Form().grade("x", (), {}, "row 1")
