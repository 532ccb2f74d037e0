"""Items of evaluation sets are found in training text word for word, and only so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from langwright.errors import BadInput, NotFound
from langwright.text import Document
from langwright.text.cleaning import Dropped
from langwright.text.contamination import ContaminationIndex, Decontaminate, evaluation_texts
from langwright.text.grams import simple_words


@pytest.fixture(scope="module")
def step(data: Path) -> Decontaminate:
    return Decontaminate(ContaminationIndex.build(evaluation_texts(data / "gsm8k/train.jsonl")))


def _questions(data: Path) -> list[str]:
    lines = (data / "gsm8k" / "train.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines]


def test_every_planted_item_is_found_whatever_its_case_and_marks(
    step: Decontaminate, data: Path
) -> None:
    for number, question in enumerate(_questions(data)[:200], start=1):
        planted = f"Before it. {question.upper().replace(',', ' ;')} After it."
        found = step(Document(planted, "x"))
        if len(simple_words(question)) < 13:
            continue
        assert isinstance(found, Dropped)
        assert found.rule == "contamination_13gram"
        assert found.detail.startswith(f"train.jsonl:{number}: ")


def test_what_is_found_is_what_brute_force_finds(step: Decontaminate, data: Path) -> None:
    questions = _questions(data)
    answers = [json.loads(line)["answer"] for line in (data / "gsm8k/train.jsonl").open()]
    grams = set()
    for text in questions + answers:
        words = simple_words(text)
        grams |= {tuple(words[at : at + 13]) for at in range(len(words) - 12)}
    texts = (data / "llamafactory_demo" / "alpaca_en_demo.json").read_text("utf-8")
    texts = [row["output"] + " " + row["instruction"] for row in json.loads(texts)]
    texts += [question[: len(question) // 2] for question in questions[::50]]
    for text in texts:
        words = simple_words(text)
        expected = any(tuple(words[at : at + 13]) in grams for at in range(len(words) - 12))
        assert isinstance(step(Document(text, "x")), Dropped) == expected


def test_twelve_words_and_other_words_are_not_found(step: Decontaminate) -> None:
    text = (
        "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips"
        " in May. How many clips did Natalia sell altogether in April and May?"
    )
    assert isinstance(step(Document(text, "x")), Dropped)
    assert not isinstance(step(Document(" ".join(text.split()[:12]), "x")), Dropped)
    told = "In April Natalia's friends bought 48 clips of her, in May she sold half of that number."
    assert not isinstance(step(Document(told, "x")), Dropped)


def test_files_that_are_no_evaluation_sets(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(evaluation_texts(tmp_path / "none.jsonl"))
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(BadInput, match=r"bad\.jsonl"):
        list(evaluation_texts(tmp_path / "bad.jsonl"))
    (tmp_path / "short.csv").write_text("a,b\nc,d\n")
    with pytest.raises(BadInput, match="13 words"):
        ContaminationIndex.build(evaluation_texts(tmp_path / "short.csv"))
