"""Runs made sick in one way each, and healthy ones: the doctor names the cause, or nothing."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from langwright.errors import NotFound, Unsupported
from langwright.store import Run, Store
from langwright.tokens import Tokenizer
from langwright.training import pretrain, sft
from langwright.training.guard import Diverged
from langwright.training.views.doctor import doctor

RECIPE = str(Path(__file__).parents[1] / "mini.toml")
LOOP = {"tokens_per_step": 256, "micro_batch_tokens": 512, "warmup_steps": 5, "eval_every": 12}
LOOP |= {"checkpoint_every": 60}
TEXT = {**LOOP, "context_length": 64, "steps": 50, "corpus": "text", "tokenizer": "vocabulary"}
TALK = {**LOOP, "context_length": 128, "steps": 50, "model": "healthy-0"}
RATES = ("learning_rate", "embedding_learning_rate")
WORDS = (
    "apple river stone cloud horse table green silver winter garden music letter bridge window",
    "candle forest market island summer button",
)


def sentence(source: random.Random) -> str:
    return " ".join(source.choice(" ".join(WORDS).split()) for _ in range(source.randint(3, 9)))


def talk(path: Path, asked: list[str], answers: list[str]) -> str:
    lines = [
        {"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]}
        for a, b in zip(asked, answers, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture(scope="module")
def store(folder: Path, small_tokenizer: Tokenizer) -> Store:
    """The corpora text and copies (its pages are a number and one of five texts), a vocabulary,
    and the healthy runs healthy-0 (pretraining) and talk-0 (fine-tuning)."""
    store = Store(folder / "home")
    with store.writing("vocabulary", "tokenizer") as draft:
        small_tokenizer.save(draft.folder / "tokenizer.json")
    source = random.Random(0)
    pages = [". ".join(sentence(source) for _ in range(12)) for _ in range(300)]
    corpora = {"text": pages, "copies": [f"{n}: {pages[n % 5]}" for n in range(300)]}
    for name, texts in corpora.items():
        with store.writing(name, "corpus") as draft:
            lines = [json.dumps({"text": text, "source": str(n)}) for n, text in enumerate(texts)]
            (draft.folder / "documents.jsonl").write_text("\n".join(lines))
    pretrain(RECIPE, name="healthy-0", store=store, **TEXT)
    asked = [sentence(source) for _ in range(200)]
    talk(folder / "talk.jsonl", asked, [one.upper() for one in asked])
    given = {"data": str(folder / "talk.jsonl"), **dict.fromkeys(RATES, 3e-3)}
    sft(RECIPE, name="talk-0", store=store, **TALK, **given)
    return store


def causes(name: str, store: Store) -> list[str]:
    findings = doctor(name, store=store)["findings"]
    for one in findings:
        assert one["severity"] in ("warning", "error")
        assert one["evidence"]
        assert one["remedy"]
    return [one["cause"] for one in findings]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_healthy_run_has_no_finding(store: Store, folder: Path, seed: int) -> None:
    if seed:
        pretrain(RECIPE, name=f"healthy-{seed}", store=store, **TEXT, seed=seed)
        given = {"data": str(folder / "talk.jsonl"), **dict.fromkeys(RATES, 3e-3)}
        sft(RECIPE, name=f"talk-{seed}", store=store, **TALK, **given, seed=seed)
    told = doctor(f"healthy-{seed}", store=store)
    assert told == {
        "run": f"healthy-{seed}", "status": "finished", "step": 50, "steps": 50, "findings": [],
    }  # fmt: skip
    assert causes(f"talk-{seed}", store) == []


SICK: dict[str, tuple[str, dict[str, Any]]] = {
    "hot": ("learning_rate_too_high", dict.fromkeys(RATES, 0.1)),
    "cold": ("learning_rate_too_low", dict.fromkeys(RATES, 1e-5)),
    "drowned": ("precision", {"adam_epsilon": 0.1}),
    "copies": ("data_dead", {"corpus": "copies"}),
}


@pytest.mark.parametrize("name", SICK)
def test_a_sick_pretraining_has_its_cause_alone(store: Store, name: str) -> None:
    cause, settings = SICK[name]
    pretrain(RECIPE, name=name, store=store, **TEXT | settings)
    assert causes(name, store) == [cause]


def test_a_run_that_diverged_says_so_also_when_it_went_on(store: Store) -> None:
    with pytest.raises(Diverged):
        pretrain(RECIPE, name="nan", store=store, **TEXT | dict.fromkeys(RATES, 1e30))
    assert causes("nan", store)[0] == "diverged"
    # The guard would go back and lower the rates, which may save it.
    given = TEXT | dict.fromkeys(RATES, 2.0) | {"gradient_clip": 1e9, "guard": False}
    pretrain(RECIPE, name="wild", store=store, **given)
    assert causes("wild", store)[0] == "diverged"


def test_text_learnt_by_heart_and_read_too_often(store: Store, folder: Path) -> None:
    source = random.Random(1)
    pages = [". ".join(sentence(source) for _ in range(2)) for _ in range(8)]
    path = folder / "few.jsonl"
    path.write_text("\n".join(json.dumps({"text": page}) for page in pages))
    more = {"corpus": str(path), "steps": 120, "tokens_per_step": 128, "tokenizer": None}
    more |= {"hidden_size": 64, "intermediate_size": 128, **dict.fromkeys(RATES, 1e-2)}
    pretrain(RECIPE, name="heart", store=store, **TEXT | more)
    found = doctor("heart", store=store)["findings"]
    assert {"data_dead", "overfit"} == {one["cause"] for one in found}
    evidence = [key for one in found for key in one["evidence"]]
    assert {"ngram_bits_per_byte", "epochs", "best_step"} <= set(evidence)


def test_answers_learnt_by_heart(store: Store, folder: Path) -> None:
    source = random.Random(2)
    asked = [sentence(source) for _ in range(12)]
    data = talk(folder / "twelve.jsonl", asked, [one.upper() for one in asked])
    given = dict.fromkeys(RATES, 1e-2)
    sft(RECIPE, name="twelve", store=store, **TALK | {"steps": 120}, data=data, **given)
    assert causes("twelve", store) == ["overfit"]


def test_prompts_without_answers_and_the_same_conversations(store: Store, folder: Path) -> None:
    source = random.Random(3)
    asked = [sentence(source) + sentence(source) for _ in range(100)]
    given = {"steps": 20, **dict.fromkeys(RATES, 3e-3)}
    data = talk(folder / "empty.jsonl", asked, ["x"] * 100)
    sft(RECIPE, name="empty", store=store, **TALK | given, data=data)
    assert causes("empty", store) == ["mask_empty"]
    data = talk(folder / "same.jsonl", (few := asked[:9]) * 12, few * 12)
    sft(RECIPE, name="same", store=store, **TALK | given, data=data)
    assert causes("same", store) == ["data_dead"]


@pytest.fixture
def changed(store: Store, tmp_path: Path) -> tuple[Store, Run]:
    """A copy of healthy-0 whose metrics are free to be changed."""
    shutil.copytree(store.home, tmp_path / "home")
    other = Store(tmp_path / "home")
    return other, other.run("healthy-0")


def rewrite(run: Run, change: Any) -> None:
    lines = run.read_metrics()
    for line in lines:
        change(line)
    run.metrics_path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_loader_that_the_steps_wait_for(changed: tuple[Store, Run]) -> None:
    """Whether the field is of one step or adds up."""
    store, run = changed

    def wait(seconds: float, each: float, summed: bool) -> None:
        def change(line: dict[str, Any]) -> None:
            line["seconds"] = seconds * line["step"]
            if "loss" in line:
                line["loading_seconds"] = each * (line["step"] if summed else 1)

        rewrite(run, change)

    for summed in (False, True):
        wait(1.0, 0.5, summed)
        assert causes("healthy-0", store) == ["loader_starved"]
        wait(1.0, 0.1, summed)
        assert causes("healthy-0", store) == []
        wait(0.1, 0.05, summed)  # two and a half seconds of the whole run
        assert causes("healthy-0", store) == []


def test_checkpoints_that_are_too_rare(changed: tuple[Store, Run]) -> None:
    store, run = changed

    def slower(line: dict[str, Any]) -> None:
        line["seconds"] = 20.0 * line["step"]

    # Killed before its first checkpoint: 50 steps of work are gone.
    shutil.rmtree(run.checkpoints)
    assert causes("healthy-0", store) == []
    run.update_state(status="stopped")
    assert causes("healthy-0", store) == ["checkpoints_too_rare"]
    run.update_state(status="finished")
    rewrite(run, slower)
    (found,) = doctor("healthy-0", store=store)["findings"]
    assert found["evidence"]["seconds_between"] == 1000  # at 50 steps
    assert "checkpoint_every=5." in found["remedy"]


def test_steps_lost_to_incidents(changed: tuple[Store, Run]) -> None:
    store, run = changed
    for number in (1, 2, 3):
        assert causes("healthy-0", store) == []
        incident = {"number": number, "decision": "skip", "skipped": [number, number]}
        incident |= {"loss": 9.0, "gradient_norm": 50.0}
        run.append_metrics({"step": 10 * number, "incident": incident})
    assert causes("healthy-0", store) == ["steps_lost"]
    run.append_metrics({"step": 50, "incident": {**incident, "gradient_norm": "inf"}})
    assert set(causes("healthy-0", store)) == {"steps_lost", "precision"}
    run.append_metrics({"step": 60, "incident": {**incident, "decision": "stop", "skipped": None}})
    assert causes("healthy-0", store) == ["diverged"]


def test_lines_with_nothing_but_a_step_are_no_trouble(changed: tuple[Store, Run]) -> None:
    store, run = changed
    lines = [{"step": 1}, {"step": 2, "loss": 3.0}, {"step": 3, "sample": "x"}, {"step": 3}]
    run.metrics_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert doctor("healthy-0", store=store)["findings"] == []
    run.metrics_path.unlink()
    assert doctor("healthy-0", store=store)["step"] == 0


def test_what_is_no_training_of_text_is_refused(store: Store) -> None:
    with pytest.raises(NotFound, match="no run 'nothing'"):
        doctor("nothing", store=store)
    store.run("other").open({"steps": 3})
    with pytest.raises(Unsupported, match="it is no run of"):
        doctor("other", store=store)
