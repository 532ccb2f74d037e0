"""What the tests of several rooms need."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Small matrices gain nothing from threads, and lose much where other work runs beside the tests.
os.environ["OMP_NUM_THREADS"] = "1"

import platformdirs
import pytest
import torch

from langwright.errors import LangwrightError, NetworkMissing
from langwright.model import Architecture, Decoder, ModelBundle, load_gguf
from langwright.store import Store, pull
from langwright.store import home as own_home
from langwright.tokens import CHATML, TURN_END, ChatTemplate, Tokenizer, train_bpe


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("markexpr") != "gpu":
        # What `auto` means is the same everywhere, and so are the figures that are compared.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # A shell that starts the tests in the background has them ignore Ctrl-C, and all their
    # children with them; the tests of Ctrl-C need it as a person's terminal gives it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public test data."""
    folder = os.environ.get("LANGWRIGHT_TEST_DATA")
    if not folder:
        pytest.skip("LANGWRIGHT_TEST_DATA is not set: it names the folder of public test data")
    return Path(folder)


def pulled(name: str) -> Path:
    """The folder of a built-in model: from the user's own store where it is there, else from a
    home that the tests keep between runs. The user's own store is only read."""
    kept = platformdirs.user_cache_path("langwright-tests", appauthor=False)
    for folder in (own_home(), kept):
        if folder.is_dir():
            try:
                store = Store(folder)
                return store.path(store.get(name))
            except LangwrightError:
                continue
    kept.mkdir(parents=True, exist_ok=True)
    store = Store(kept)
    try:
        return store.path(pull(name, store=store))
    except NetworkMissing as error:
        pytest.skip(f"{name} is not in the store and cannot be fetched: {error}")


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    return pulled("smollm2-135m-instruct") / "model.gguf"


@pytest.fixture(scope="session")
def minilm_path() -> Path:
    return pulled("minilm")


@pytest.fixture(scope="session")
def smollm2(smollm2_path: Path) -> ModelBundle:
    return load_gguf(smollm2_path)


SENTENCES = [
    "The quick brown fox jumps over the lazy dog, doesn't it?",
    "Über den Wolken muß die Freiheit wohl grenzenlos sein; 12345 Höhenmeter.",
    "你好，世界！人工智能正在改变世界。",
    "🙂🙃 robots 🤖🤖 and families 👨‍👩‍👧",
    "  indented\n\n\tlines\r\n and   blanks  ",
]


@pytest.fixture(scope="session")
def small_tokenizer() -> Tokenizer:
    """Bytes, the special tokens and some merges; characters of Chinese and emoji stay in pieces."""
    return train_bpe(["the quick fox and the lazy dog, the 12 words " * 3, *SENTENCES], 320)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and on a busy machine wait long for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_model(small_tokenizer: Tokenizer) -> Callable[..., ModelBundle]:
    """A small model with random weights in every place, norms included."""

    def make(seed: int = 0, *, start_id: int | None = None, **settings: Any) -> ModelBundle:
        shape = Architecture.build(SMALL | settings)
        module = Decoder(shape)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in module.parameters():
                noise = torch.randn(weight.shape, generator=generator)
                spread = weight.shape[-1] ** -0.5
                weight.copy_(1 + 0.2 * noise if weight.dim() == 1 else noise * spread)
        tokenizer = small_tokenizer
        template = ChatTemplate(CHATML, tokenizer)
        ends = frozenset({tokenizer.special[TURN_END]})
        module.requires_grad_(False).eval()
        return ModelBundle(module, tokenizer, template, ends, start_id)

    return make


SMALL: dict[str, Any] = {
    "family": "qwen3",
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_layers": 2,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 16,
    "context_length": 64,
}


SMALL_ENCODER = {
    "vocab_size": 80, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 40,
}  # fmt: skip


@pytest.fixture
def small_encoder(tmp_path: Path) -> Path:
    """A small encoder as sentence-transformers would save it."""
    import tokenizers
    import transformers

    core = tokenizers.BertWordPieceTokenizer()
    core.train_from_iterator(["the cat sat on the mat"] * 3, vocab_size=80, show_progress=False)
    core.save(str(tmp_path / "tokenizer.json"))
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**SMALL_ENCODER)).save_pretrained(tmp_path)
    parts = [{"type": f"sentence_transformers.models.{one}"} for one in ("Transformer", "Pooling")]
    parts[1]["path"] = "1_Pooling"
    (tmp_path / "modules.json").write_text(json.dumps(parts))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    return tmp_path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("LANGWRIGHT_HOME", str(home))
    return home


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("neither chromium nor google-chrome is on PATH")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home)


@pytest.fixture
def recipe() -> str:
    """A recipe that takes seconds."""
    return str(Path(__file__).with_name("mini.toml"))


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
