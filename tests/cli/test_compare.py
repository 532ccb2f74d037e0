"""Choosing at a real (pseudo) terminal, and what programs get."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from langwright.cli.main import run
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
    open_terminal: Callable[..., Terminal], prompts: str, home: Path
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


def test_prompts_are_typed_between_the_choices(langwright: Run) -> None:
    done = langwright(*WORDS, "--name", "typed", "--json", input="hello\nl\nthe dog\nb\n\n")
    assert done.returncode == 0, done.stderr
    found = one_object(done.stdout)
    assert (found["comparisons"], found["artifact"]) == (2, "typed")
    assert found["choices"] == {"left": 1, "both bad": 1}
    assert "[user] the dog" in done.stderr


@pytest.fixture
def program(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs one command line in this process: exit code, both outputs."""
    monkeypatch.setenv("LANGWRIGHT_HOME", str(home))

    def program(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return program


def test_import(program: Callable[..., tuple[int, str, str]], data: Path) -> None:
    source = str(data / "oasst/en_100_tree.jsonl")
    _, out, err = program("compare", "--import", source, "--name", "trees", "--json")
    found = one_object(out)
    assert (found["artifact"], found["comparisons"], found["pairs"]) == ("trees", 212, 754)
    assert found["shape"] == "oasst trees"
    assert "Left out 6 where an answer has no rank" in err


def test_agreement(program: Callable[..., tuple[int, str, str]], home: Path) -> None:
    for rater, ranks in (("anna", "0101"), ("ben", "0111")):
        rows = [
            Comparison([{"role": "user", "content": f"{n}?"}], ["a", "b"], [int(r), 1 - int(r)])
            for n, r in enumerate(ranks)
        ]
        with Store(home).writing(rater, "comparisons") as draft:
            write_comparisons(draft.folder, rows)
    _, shown, _ = program("compare", "--agreement", "anna", "ben")
    assert "0.7500" in shown.partition("agree")[2]
    assert "0.5000" in shown.partition("Cohen's kappa")[2]


def test_mistakes_are_told(program: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = program("compare", "--prompts", "p.txt")
    assert (code, "Name one or two" in err) == (2, True)
    # What would mean nothing is not passed over.
    code, out, _ = program("compare", "--import", "f.jsonl", "--temperature", "1", "--json")
    assert code == 1
    assert "something else" in one_object(out)["error"]["message"]
