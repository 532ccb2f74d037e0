"""The verbs that look at a run, in this process: one run serves them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from langwright.cli.main import run
from langwright.store import Store
from langwright.tokens import Tokenizer
from langwright.training import pretrain

RECIPE = str(Path(__file__).parents[1] / "mini.toml")

Say = Callable[..., "tuple[int, str]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Tokenizer) -> Path:
    """A home with the finished run `grown`, of two steps on four rows each."""
    folder = tmp_path_factory.mktemp("views")
    store = Store(folder / "home")
    with store.writing("vocabulary", "tokenizer") as draft:
        small_tokenizer.save(draft.folder / "tokenizer.json")
    texts = [f"In the beginning was {n}, then {n * n}." for n in range(200)]
    (folder / "book.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    given = {"corpus": str(folder / "book.jsonl"), "tokenizer": "vocabulary", "steps": 2}
    given |= {"context_length": 32, "tokens_per_step": 128, "micro_batch_tokens": 128}
    pretrain(RECIPE, name="grown", store=store, **given)
    return store.home


@pytest.fixture
def say(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run one command line; its exit code and standard output."""
    monkeypatch.setenv("LANGWRIGHT_HOME", str(trained))

    def say(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run(list(words))
        return code, capsys.readouterr().out

    return say


def test_show_batch(say: Say, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ("show-batch", "grown", "--step", "2", "--html", str(page))
    batch = json.loads(say(*words, "--json")[1])
    assert batch.keys() == {"run", "stage", "step", "steps", "counts", "rows"}
    assert batch["counts"]["trained"] + batch["counts"]["padded"] == 128
    token = {"id", "text", "state", "trained", "document"}
    assert all(one.keys() == token for row in batch["rows"] for one in row["tokens"])
    seen = say(*words)[1]
    assert "row 4, micro-batch 1" in seen
    assert "┃ ⟨" in seen
    assert page.read_text().startswith("<!doctype html>")
    code, refused = say("show-batch", "grown", "--step", "3", "--json")
    assert (code, "1 to 2" in json.loads(refused)["error"]["remedy"]) == (1, True)


def test_a_bad_batch_is_shown_and_fails(say: Say, trained: Path) -> None:
    """An end of text at the beginning of each document, as an empty document would leave it."""
    import numpy as np

    store = Store(trained)
    folder = store.path(store.get("grown-tokens"))
    tokens = np.memmap(folder / "train.bin", dtype="<u2", mode="r+")
    starts = np.load(folder / "train.offsets.npy")[:-1]
    before = tokens[starts].copy()
    tokens[starts] = tokens[-1]
    try:
        code, seen = say("show-batch", "grown")
        assert (code, "row 1, micro-batch 1" in seen) == (1, True)
        code, told = say("show-batch", "grown", "--json")
        error = json.loads(told)["error"]
        assert (code, error["type"]) == (1, "bad_batch")
        assert error["problems"][0].keys() == {"kind", "row", "micro_batch", "problem", "remedy"}
        (found,) = json.loads(say("doctor", "grown", "--json")[1])["findings"]
        assert (found["cause"], found["severity"]) == ("start_doubled", "error")
        seen = say("doctor", "grown")[1]
        assert all(word in seen for word in ("error: start doubled", found["remedy"]))
    finally:
        tokens[starts] = before


def test_doctor(say: Say) -> None:
    told = json.loads(say("doctor", "grown", "--json")[1])
    assert told.keys() == {"run", "status", "step", "steps", "findings"}
    assert (told["step"], told["findings"]) == (2, [])
    assert "nothing found" in say("doctor", "grown")[1]
    assert say("doctor", "grwon")[0] == 1
