"""The real program, in a home of its own with a small random model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from langwright.model import Architecture, Decoder, ModelBundle, save_folder
from langwright.store import Store
from langwright.tokens import CHATML, END_OF_TEXT, ChatTemplate, Tokenizer

if TYPE_CHECKING:
    from .terminal import Terminal

PROGRAM = [sys.executable, "-c", "from langwright.cli.main import main; main()"]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Tokenizer) -> Path:
    """The models tiny (window 4096) and short (48), made from the corpus book; the tokenizer
    words; the run new, which has no checkpoint."""
    store = Store(tmp_path_factory.mktemp("cli") / "home")
    with store.writing("book", "corpus", licence="CC0-1.0") as draft:
        (draft.folder / "text.txt").write_text("In the beginning. " * 50)
    for name, context in (("tiny", 4096), ("short", 48)):
        shape = Architecture.build(
            {
                "vocab_size": 384,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_layers": 1,
                "num_heads": 2,
                "num_kv_heads": 1,
                "head_dim": 16,
                "context_length": context,
            }
        )
        module = Decoder(shape)
        module.initialise(1)
        end = small_tokenizer.special[END_OF_TEXT]
        template = ChatTemplate(CHATML, small_tokenizer)
        bundle = ModelBundle(module, small_tokenizer, template, frozenset({end}), end)
        with store.writing(name, "model", parents=["book"], licence="MIT") as draft:
            save_folder(draft.folder, bundle)
    with store.writing("words", "tokenizer") as draft:
        small_tokenizer.save(draft.folder / "tokenizer.json")
    store.run("new").open({"steps": 3})
    return store.home


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "LANGWRIGHT_HOME": str(home),
        "PYTHONUTF8": "1",
        "TERM": "dumb",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def langwright(environment: dict[str, str]) -> Run:
    """Run the program with these words; both outputs are text."""

    def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("env", environment)
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [*PROGRAM, *words], capture_output=True, encoding="utf-8", timeout=500, **options
        )
        return done

    return run


@pytest.fixture
def open_terminal(environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Start the program in a terminal of its own, with these words and variables."""
    from .terminal import Terminal

    opened = []

    def start(*words: str, **variables: str) -> Terminal:
        opened.append(Terminal(list(words), environment | variables))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def one_object(output: str) -> dict[str, Any]:
    """The one JSON object that is all of standard output."""
    found = json.loads(output)
    assert isinstance(found, dict)
    return found
