"""The verbs that look at a run, in this process: one run serves them all."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from langwright.cli.main import run
from langwright.store import Run, Store
from langwright.text import TokenShards
from langwright.tokens import Tokenizer
from langwright.training import pretrain
from langwright.training.rebuilt import rebuild

from .conftest import PROGRAM

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


@pytest.fixture(scope="module")
def lines(trained: Path) -> Run:
    """The run `made`, of lines alone, with an incident and a sample."""
    run = Store(trained).run("made").open({"steps": 40})
    for step in range(1, 21):
        told = {"step": step, "loss": 5.0 / step, "gradient_norm": 1.0, "learning_rate": 1e-3}
        run.append_metrics(
            told | {"tokens": 9 * step, "seconds": 100.0 * step, "memory_bytes": 2e9, "mfu": 0.412}
        )
    run.append_metrics({"step": 20, "val_loss": 1.25, "val_bits_per_byte": 0.5})
    run.append_metrics({"step": 20, "incident": {"decision": "skip", "loss": 9.5}})
    run.append_metrics({"step": 20, "sample": {"text": "Once \x1b[31mupon"}})
    return run


def test_watch(say: Say, lines: Run) -> None:
    (told,) = json.loads(say("watch", "made", "--json")[1])["runs"]
    assert (told["step"], told["loss"], told["seconds_left"]) == (20, 0.25, 2000.0)
    code, seen = say("watch", "made", "--once")
    assert code == 0
    for word in (
        "5.000 │●",
        "▲ val_loss",
        "20 of 40",
        "33 min 20 s",
        "2.0 GB",
        "41.2%",
        "decision skip",
    ):
        assert word in seen, word
    assert "Once \\x1b[31mupon" in seen  # control characters are spelt
    both = say("watch", "grown", "made", "--once")[1]
    assert "● grown  ▲ made" in both
    assert say("watch", "made")[1] == seen  # nobody trains it: the same, and it ends
    code, told = say("watch", "made", "--json", "--to", "nowhere:x")
    assert (code, json.loads(told)["error"]["type"]) == (1, "bad_input")


def test_on_a_terminal_it_follows_to_the_end(trained: Path) -> None:
    run = Store(trained).run("live").open({"steps": 2})
    run.append_metrics({"step": 1, "loss": 4.0})
    master, terminal = pty.openpty()
    environment = {**os.environ, "LANGWRIGHT_HOME": str(trained), "TERM": "xterm", "COLUMNS": "90"}
    with run.locked():
        run.update_state(status="running")
        process = subprocess.Popen(
            [*PROGRAM, "watch", "live"], stdout=terminal, stdin=terminal, env=environment
        )
        os.close(terminal)
        seen = b""
        while b"1 of 2" not in seen:
            seen += os.read(master, 4096)
        run.append_metrics({"step": 2, "loss": 3.0})
        run.update_state(status="finished")
        with suppress(OSError):  # how Linux says that nobody holds the other end
            while more := os.read(master, 4096):
                seen += more
    os.close(master)
    assert process.wait() == 0
    assert b"running" in seen
    assert b"2 of 2" in seen
    assert b"finished" in seen


def test_watch_and_recipe_load_no_torch(trained: Path) -> None:
    program = (
        "import sys; from langwright.cli.main import run; "
        "assert run(['watch', 'grown', '--once']) == run(['recipe', 'list']) == 0; "
        "assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "LANGWRIGHT_HOME": str(trained)}
    subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True
    )


def test_forget(say: Say, trained: Path) -> None:
    store = Store(trained)
    records = list(TokenShards(store.path(store.get("grown-tokens")), "train").records())
    record = records[min(rebuild(store.run("grown"), store).stage.numbers(1))]
    code, told = say("forget", "grown", record["source"], "--name", "less", "--json")
    result = json.loads(told)
    assert code == 0
    assert (result["run"], result["model"], result["steps"]) == ("less", "less", 2)
    assert result["document"] == {key: record[key] for key in ("digest", "source", "title")}
    assert result["weights_sha256"] != store.run("grown").state["result"]["weights_sha256"]
    seen = say("forget", "grown", record["digest"][:10], "--name", "less")[1]
    assert "first_seen_step" in seen
    code, refused = say("forget", "less", record["source"], "--json")
    assert (code, "already" in json.loads(refused)["error"]["message"]) == (1, True)


def test_bisect(say: Say) -> None:
    words = ("bisect", "grown", "--prompt", "In the beginning was", "--expect", " light")
    code, told = say(*words, "--json")
    found = json.loads(told)
    assert (code, found["outcome"], found["documents"]) == (1, "absent", [])
    assert found["end"] < -1
    code, seen = say(*words)
    assert (code, "absent" in seen) == (1, True)
