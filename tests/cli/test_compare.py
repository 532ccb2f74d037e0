"""Choosing at a real (pseudo) terminal, and what programs get."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from langwright.store import Store
from langwright.training.comparisons import Comparison, write_comparisons

from .conftest import Run, one_object

if TYPE_CHECKING:
    from .terminal import Terminal

ASK = "[s]kip or [q]uit? "
WORDS = ("compare", "tiny", "short", "--max-tokens", "4", "--temperature", "1", "--seed", "3")


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.txt"
    path.write_text("the quick fox\nthe lazy dog\n12 words\n")
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are a thing of Unix")
def test_a_terminal_that_is_killed_has_lost_nothing(
    open_terminal: Callable[..., Terminal], langwright: Run, prompts: str, home: Path
) -> None:
    words = (*WORDS, "--prompts", prompts, "--name", "killed", "--rater", "anna")
    terminal = open_terminal(*words)
    shown = terminal.until(ASK)
    for part in ("Question 1 of 3", "[user] the quick fox", "-- left", "-- right"):
        assert part in shown
    assert "tiny" not in shown.partition("Question")[2]  # nothing tells whose answer it is
    terminal.type("wrong\n")
    terminal.until(ASK)
    terminal.type("l\n")
    terminal.until(ASK)
    terminal.child.kill()
    terminal.child.wait()

    terminal = open_terminal(*words)
    assert "Question 2 of 3" in terminal.until(ASK)
    terminal.type("tie\n")
    terminal.until(ASK)
    terminal.type("\x04")
    assert terminal.leave() == 0
    artifact = Store(home).get("killed")
    assert (artifact.kind, artifact.metrics["comparisons"]) == ("comparisons", 2)

    done = langwright(*words, "--json", input="r\n")
    found = one_object(done.stdout)
    assert (found["comparisons"], found["left"]) == (3, 0)
    assert found["choices"] == {"left": 1, "tie": 1, "right": 1}


def test_prompts_are_typed_between_the_choices(langwright: Run) -> None:
    done = langwright(*WORDS, "--name", "typed", "--json", input="hello\nl\nthe dog\nb\n\n")
    assert done.returncode == 0, done.stderr
    assert one_object(done.stdout)["comparisons"] == 2
    assert "[user] the dog" in done.stderr


def test_import(langwright: Run, data: Path) -> None:
    source = str(data / "oasst/en_100_tree.jsonl")
    done = langwright("compare", "--import", source, "--name", "trees", "--json")
    found = one_object(done.stdout)
    assert (found["artifact"], found["comparisons"], found["pairs"]) == ("trees", 212, 754)
    assert found["shape"] == "oasst trees"
    assert "Left out 6 where an answer has no rank" in done.stderr


def test_agreement(langwright: Run, home: Path) -> None:
    for rater, ranks in (("anna", "0101"), ("ben", "0111")):
        rows = [
            Comparison([{"role": "user", "content": f"{n}?"}], ["a", "b"], [int(r), 1 - int(r)])
            for n, r in enumerate(ranks)
        ]
        with Store(home).writing(rater, "comparisons") as draft:
            write_comparisons(draft.folder, rows)
    shown = langwright("compare", "--agreement", "anna", "ben").stdout
    assert "0.7500" in shown.partition("agree")[2]
    assert "0.5000" in shown.partition("Cohen's kappa")[2]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("compare", "--prompts", "p.txt"), 2, "0 models"),
        (("compare", "--import", "f.jsonl", "--temperature", "1"), 1, "something else"),
        (("compare", "tinny", "--prompts", "p.txt"), 1, "p.txt"),
    ],
)
def test_mistakes_are_told(langwright: Run, words: tuple[str, ...], code: int, said: str) -> None:
    done = langwright(*words, "--json")
    assert done.returncode == code
    assert said in one_object(done.stdout)["error"]["message"]
