from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from langwright.store import Store

RECIPE = """
[pretrain]
corpus = "python-docs"
vocab_size = 320
validation_fraction = 0.1
hidden_size = 32
intermediate_size = 64
num_layers = 2
num_heads = 2
num_kv_heads = 1
context_length = 32
tokens_per_step = 256
micro_batch_tokens = 128
steps = 12
learning_rate = 3e-3
embedding_learning_rate = 5e-3
warmup_steps = 3
checkpoint_every = 3
eval_every = 6

[sft]
context_length = 256
tokens_per_step = 512
micro_batch_tokens = 512
steps = 6
learning_rate = 1e-3
embedding_learning_rate = 1e-3
warmup_steps = 2
checkpoint_every = 2
eval_every = 3
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("LANGWRIGHT_HOME", str(home))
    return home


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "mini.toml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture
def start(home: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the real program in a process of its own."""

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("langwright")), *words],
            env={**os.environ, "LANGWRIGHT_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
