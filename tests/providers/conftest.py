"""A store with a small random model in every place where a name can find one."""

from __future__ import annotations

from pathlib import Path

import pytest

from langwright.model import Architecture, Decoder, ModelBundle, save_folder
from langwright.store import Store
from langwright.tokens import CHATML, END_OF_TEXT, ChatTemplate, Tokenizer

VOCAB_ROWS = 384


def random_model(tokenizer: Tokenizer, seed: int) -> ModelBundle:
    shape = Architecture.build(
        {
            "vocab_size": VOCAB_ROWS,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_layers": 1,
            "num_heads": 2,
            "num_kv_heads": 1,
            "head_dim": 16,
            "context_length": 64,
        }
    )
    module = Decoder(shape)
    module.initialise(seed)
    end = tokenizer.special[END_OF_TEXT]
    return ModelBundle(module, tokenizer, ChatTemplate(CHATML, tokenizer), frozenset({end}), end)


def save_checkpoint(store: Store, run: str, step: int, model: ModelBundle) -> None:
    folder = store.run(run).checkpoints / f"step-{step:08d}" / "model"
    folder.mkdir(parents=True)
    save_folder(folder, model)


def save_model(store: Store, name: str, model: ModelBundle) -> None:
    with store.writing(name, "model", settings={"for": name}) as draft:
        save_folder(draft.folder, model)


@pytest.fixture(scope="session")
def model_a(small_tokenizer: Tokenizer) -> ModelBundle:
    return random_model(small_tokenizer, 1)


@pytest.fixture(scope="session")
def model_b(small_tokenizer: Tokenizer) -> ModelBundle:
    return random_model(small_tokenizer, 2)


@pytest.fixture
def store(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model_a: ModelBundle,
    model_b: ModelBundle,
    small_tokenizer: Tokenizer,
) -> Store:
    """Models tiny (a) and done (a, with a run whose checkpoint is b); a run half (b at step 20
    after a at step 10); a run new without a checkpoint; a tokenizer; a corpus."""
    store = Store(tmp_path / "home")
    monkeypatch.setenv("LANGWRIGHT_HOME", str(store.home))
    save_model(store, "tiny", model_a)
    save_model(store, "done", model_a)
    for name in ("done", "half", "new"):
        store.run(name).open({"steps": 30})
    save_checkpoint(store, "done", 30, model_b)
    save_checkpoint(store, "half", 10, model_a)
    save_checkpoint(store, "half", 20, model_b)
    with store.writing("words", "tokenizer") as draft:
        small_tokenizer.save(draft.folder / "tokenizer.json")
    with store.writing("book", "corpus") as draft:
        (draft.folder / "text.txt").write_text("In the beginning.")
    return store
