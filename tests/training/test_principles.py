"""What a constitution says is read whole, or refused with the place of the mistake; the prompts
that are learnt from are none of those that are measured on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from langwright.errors import BadInput, BadSettings, LangwrightError, NotFound
from langwright.training.constitutional.ledger import Ledger
from langwright.training.constitutional.principles import constitutions, read_constitution
from langwright.training.constitutional.prompts import read_prompts, read_questions, require_apart
from langwright.training.constitutional.revising import draw
from langwright.training.constitutional.rules import RuleJudge

ONE = """
[[principles]]
id = "calm"
title = "Stay calm"
critique = "Say where it shouts."
revision = "Write it calmly."
comparison = "Which reply is calmer?"
"""


def test_the_house_has_twelve_principles_and_the_rule_judge_knows_their_signs() -> None:
    assert constitutions() == ["house"]
    house = read_constitution("house")
    assert len({one.id for one in house.principles}) == 12
    RuleJudge(house)
    assert all(one.signs for one in house.principles)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (ONE.replace("comparison", "# comparison"), BadSettings, "principles.0.comparison"),
        (ONE.replace("critique =", "critik ="), BadSettings, "principles.0.critik"),
        (ONE.replace('"calm"', '"Stay calm"'), BadSettings, "principles.0.id"),
        (ONE.replace('"Write it calmly."', '"  "'), BadSettings, "principles.0.revision"),
        (ONE + ONE, BadInput, "2 principles with the id 'calm'"),
        ("about = 'nothing'", BadSettings, "principles"),
        ("principles = [", BadSettings, "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_file(
    tmp_path: Path, text: str, error: type[LangwrightError], words: str
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(error, match=words) as told:
        read_constitution(str(path))
    assert str(path) in told.value.message


def test_one_of_ones_own_is_read_and_an_unknown_sign_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(ONE)
    found = read_constitution(str(path))
    assert found.principle("calm").comparison == "Which reply is calmer?"
    RuleJudge(found)
    with pytest.raises(NotFound, match="calm"):
        found.principle("clam")
    with pytest.raises(NotFound, match="house"):
        read_constitution("hause")
    path.write_text(ONE + 'signs = ["swears", "insults"]')
    with pytest.raises(BadSettings, match=r"'insults'.*'insult'"):
        RuleJudge(read_constitution(str(path)))


def test_principles_are_drawn_by_the_seed_and_none_twice_before_all_came() -> None:
    house = read_constitution("house")
    drawn = [[one.id for one in draw(house, 7, str(number), 12)] for number in range(20)]
    assert all(len(set(ids)) == 12 for ids in drawn)
    assert len({tuple(ids) for ids in drawn}) == 20
    assert drawn[3] == [one.id for one in draw(house, 7, "3", 12)]
    assert drawn[3] != [one.id for one in draw(house, 8, "3", 12)]
    assert len(draw(house, 7, "3", 15)) == 15
    first = {draw(house, 0, str(number), 1)[0].id for number in range(200)}
    assert len(first) == 12


def test_what_is_learnt_from_and_what_is_measured_on_are_apart() -> None:
    red, held_out = read_prompts("house", "red"), read_prompts("house", "held_out")
    questions = read_questions("house")
    assert (len(red), len(held_out), len(questions)) == (36, 24, 16)
    require_apart(red, held_out)
    require_apart(red, [one.prompt for one in questions])
    with pytest.raises(BadInput, match="1 prompts are learnt from and held out"):
        require_apart(red, [*held_out, red[4].upper().replace(" ", "  ")])


def test_prompts_of_ones_own(tmp_path: Path) -> None:
    text, lines, asked = tmp_path / "p.txt", tmp_path / "p.jsonl", tmp_path / "q.jsonl"
    text.write_text("  One?\n\nTwo?\n")
    lines.write_text('{"prompt": "One?"}\n{"prompt": "Two?"}\n')
    assert read_prompts(str(text), "red") == read_prompts(str(lines), "red") == ["One?", "Two?"]
    asked.write_text('{"prompt": "One?", "expects": [["yes", "no"], ["one"]]}')
    assert read_questions(str(asked))[0].expects == (("yes", "no"), ("one",))

    def refused(path: Path, content: str, read: Callable[[str], object], words: str) -> None:
        path.write_text(content)
        with pytest.raises(BadInput, match=words):
            read(str(path))

    def prompts(name: str) -> object:
        return read_prompts(name, "red")

    refused(text, "One?\nTwo?\none?", prompts, "Lines 1 and 3")
    refused(text, "\n\n", prompts, "empty")
    refused(lines, '{"prompt": "One?"}\n{"text": "Two?"}\n', prompts, "Line 2")
    refused(lines, '{"prompt": "One?"}\n{"prompt', prompts, "Line 2")
    refused(asked, '{"prompt": "One?"}', read_questions, "Line 1.*words")
    refused(asked, '{"prompt": "One?", "expects": ["yes"]}', read_questions, "Line 1.*words")
    with pytest.raises(NotFound, match="house"):
        prompts(str(tmp_path / "none.txt"))


def test_a_torn_line_of_a_ledger_is_made_again_and_a_wrong_one_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.add("a", {"text": "ä\nb"})
    ledger.add("b", {"text": ""})
    whole = path.read_bytes()
    path.write_bytes(whole + '{"key": "c", "text": "ü'.encode()[:-1])
    again = Ledger(path)
    assert again.known == {"a": {"text": "ä\nb"}, "b": {"text": ""}}
    assert path.read_bytes() == whole
    again.add("c", {"text": "ü"})
    assert Ledger(path).known["c"] == {"text": "ü"}
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(LangwrightError, match="Line 1 "):
        Ledger(path)
