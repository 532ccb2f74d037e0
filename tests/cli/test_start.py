"""The program and the package answer at once, since they import nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import langwright as lw

from .conftest import Run

VERBS = [
    "pull",
    "list",
    "show",
    "remove",
    "lineage",
    "describe",
    "clean",
    "tokens",
    "cost",
    "next-tokens",
    "neighbours",
    "inspect",
    "generate",
    "chat",
    "score",
    "embed",
    "bench",
    "recipe",
    "plan",
    "pretrain",
    "sft",
    "reward",
    "dpo",
    "ppo",
    "grpo",
    "constitution",
    "transcripts",
    "show-batch",
    "watch",
    "doctor",
    "evaluate",
    "compare",
    "verify-resume",
    "forget",
    "bisect",
    "finetune",
    "grow",
    "export",
    "serve",
    "keys",
    "launch",
]
HEAVY = "torch transformers tokenizers pydantic rich numpy jinja2 platformdirs"


def imported_by(program: str) -> set[str]:
    """Which of the heavy packages are there after `program`."""
    after = f"import sys; print(*set('{HEAVY}'.split()) & set(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{after}"], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_help_names_every_verb(langwright: Run) -> None:
    done = langwright("--help")
    assert done.returncode == 0
    named = [line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line]
    assert named == VERBS
    assert langwright().stdout == done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(langwright: Run, verb: str) -> None:
    done = langwright(verb, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout
    assert "Usage: langwright" in done.stdout
    assert done.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    assert imported_by("from langwright.cli.main import run; run(['--help'])") == set()
    # typer itself checks defaults with pydantic.
    of_a_verb = imported_by("from langwright.cli.main import run; run(['grow', '--help'])")
    assert of_a_verb <= {"pydantic"}
    # The ruler: it sees what is there.
    assert imported_by("import rich") == {"rich"}


def test_a_model_is_answered_by_without_the_compiler_of_torch() -> None:
    """It takes a second and more to be imported, and nothing is compiled."""
    rooms = "import sys, langwright.inference, langwright.providers"
    done = subprocess.run(
        [sys.executable, "-c", f"{rooms}; print('torch._dynamo' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout == "False\n"


def test_help_reads_few_modules() -> None:
    """What it costs, counted: seconds depend on what else the machine does."""
    program = "import sys; from langwright.cli.main import run\n"
    program += "try: run(['--help'])\nexcept SystemExit: pass\n"
    program += "print(len(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert int(done.stderr) < 260


def test_the_package_imports_nothing_heavy_and_lists_its_verbs() -> None:
    assert imported_by("import langwright; dir(langwright)") == set()
    verbs = {verb.replace("-", "_") for verb in VERBS} - {"list"}
    assert verbs | {"artifacts", "load", "errors"} <= set(dir(lw))
    assert all(callable(getattr(lw, verb)) for verb in verbs)
    with pytest.raises(AttributeError, match="no attribute 'genrate'"):
        _ = lw.genrate


def test_the_verb_tokens_stays_a_verb_beside_the_room_of_that_name() -> None:
    import langwright.tokens
    from langwright.tokens import Tokenizer

    assert langwright.tokens is lw.tokens
    assert callable(lw.tokens)
    assert Tokenizer.__module__ == "langwright.tokens.tokenizer"


def test_version(langwright: Run) -> None:
    done = langwright("--version")
    assert (done.returncode, done.stdout) == (0, f"langwright {lw.__version__}\n")
